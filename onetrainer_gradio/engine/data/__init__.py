"""Pictures and captions: found, arranged, encoded, cached."""
