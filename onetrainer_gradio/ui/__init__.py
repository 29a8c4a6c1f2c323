"""The page: Gradio widgets and their scripts to service calls, nothing more."""
