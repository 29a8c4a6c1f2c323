"""Caption images and make masks with models, in a separate process."""
