"""What the folders of the concepts hold: read the same way by engine, pre-flight check, statistics and preview."""
