"""Read the folders of concepts, for the engine, the pre-flight check, statistics and preview."""
