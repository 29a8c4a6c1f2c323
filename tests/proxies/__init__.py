"""Tests with real reverse proxies; a package, so that the proxies end with its tests."""
