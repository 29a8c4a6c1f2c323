"""The page: Gradio components and scripts that call the service."""
