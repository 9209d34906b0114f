"""Floor 7: the command line; the only flags and the only printing. One file a verb."""
