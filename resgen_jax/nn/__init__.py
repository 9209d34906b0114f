"""Floor 3: building blocks of networks, and networks as pure functions (`functional`)."""
