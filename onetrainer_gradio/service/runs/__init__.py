"""Store runs as folders and read them back."""
