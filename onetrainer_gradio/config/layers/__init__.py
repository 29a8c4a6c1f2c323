"""Match layer filters against the layer names of a model."""
