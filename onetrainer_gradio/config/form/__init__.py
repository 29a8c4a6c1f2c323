"""Describe the settings form: schema, labels, search aliases and changes."""
