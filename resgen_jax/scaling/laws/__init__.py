"""How the loss falls with size, data and compute: runs, fits, plots and their page."""
