"""Floor 1: shapes, keys, trees, config building and errors."""
