"""Tests with real reverse proxies; a package, so that they end with them."""
