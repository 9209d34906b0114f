"""Floor 5: weights of other people's models in, ours out: complete or refused."""
