"""Choose the engine that trains, and find OneTrainer checkouts."""
