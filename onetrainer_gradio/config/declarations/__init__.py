"""Declare the settings of a run: one field per setting, in OneTrainer's nesting."""
