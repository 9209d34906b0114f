"""Config files: found, run, changed on the command line, and frozen at the border."""
