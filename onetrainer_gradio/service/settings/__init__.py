"""Keep the settings being edited, saved configurations and presets."""
