"""Read, write, migrate and overlay configuration files."""
