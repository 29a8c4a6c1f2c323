"""Tests with a browser; a package, so that the browser ends with its tests."""
