"""Style Gradio's own components: system fonts, and the color variables of the page's style sheet."""

from __future__ import annotations

import gradio as gr

_SANS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
_MONO = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"]

# Gradio's variable -> ours (assets/panel.css). The same in light and dark, because ours switch.
_VARIABLES = {
    "body_background_fill": "--og-ground",
    "body_text_color": "--og-text",
    "body_text_color_subdued": "--og-muted",
    "background_fill_primary": "--og-panel",
    "background_fill_secondary": "--og-ground",
    "block_background_fill": "--og-panel",
    "border_color_primary": "--og-line",
    "border_color_accent": "--og-accent",
    "color_accent": "--og-accent",
    "color_accent_soft": "--og-accent-soft",
    "link_text_color": "--og-accent",
    "button_primary_background_fill": "--og-accent",
    "button_primary_background_fill_hover": "--og-accent-strong",
    "button_primary_text_color": "--og-on-accent",
    "button_primary_border_color": "--og-accent",
    "button_secondary_background_fill": "--og-panel",
    "button_secondary_background_fill_hover": "--og-hover",
    "button_secondary_text_color": "--og-text",
    "button_secondary_border_color": "--og-line-strong",
}


def theme() -> gr.themes.Base:
    """Return the theme. It uses only our colors and loads no fonts."""
    built = gr.themes.Base(
        font=[gr.themes.Font(name) for name in _SANS],
        font_mono=[gr.themes.Font(name) for name in _MONO],
        radius_size=gr.themes.sizes.radius_sm,
        spacing_size=gr.themes.sizes.spacing_sm,
        text_size=gr.themes.sizes.text_sm,
    )
    values = {name: f"var({ours})" for name, ours in _VARIABLES.items()}
    dark = {f"{name}_dark": value for name, value in values.items() if hasattr(built, f"{name}_dark")}
    return built.set(**values, **dark)
