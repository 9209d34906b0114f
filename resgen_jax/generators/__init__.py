"""Floor 4: networks that generate codes from codes and codebook vectors, never from images."""
