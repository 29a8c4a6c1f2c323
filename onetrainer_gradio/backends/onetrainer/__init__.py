"""The backend that drives a OneTrainer checkout, in its own Python, without changing a line of it."""
