"""Facts of each model family, without torch."""
