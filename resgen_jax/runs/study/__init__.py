"""Programs compiled for slices that are not there, and the speed of a step here."""
