"""Find, order, encode and cache images and captions."""
