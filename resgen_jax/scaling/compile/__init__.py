"""Programs compiled for chips that need not be there: memory, operations, traffic, a speed bound."""
