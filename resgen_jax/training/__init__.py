"""Floor 5: mesh, state, optimizer, checkpoints, metrics out, and the loop that runs a task."""
