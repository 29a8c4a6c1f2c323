"""Run an unmodified OneTrainer checkout as a backend, in its own Python."""
