"""Floor 1: shapes, spaces, keys, trees, config building and errors."""
