"""Programs compiled for chips that are not there: memory, operations, traffic, a speed bound."""
