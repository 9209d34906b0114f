"""Floor 4: networks that turn data into codes and back."""
