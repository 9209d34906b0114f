"""Floor 8: the command line; the only flags and the only printing. One file a verb."""
