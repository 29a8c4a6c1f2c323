"""Warn on the page that a restart of the container or Space deletes everything."""

from __future__ import annotations

from html import escape

_STYLE = (
    "margin:0;padding:.5rem 1rem;background:var(--og-warn-soft);color:var(--og-text);"
    "border-bottom:1px solid var(--og-warn);font:14px/1.4 var(--og-sans)"
)


def storage_notice(space_id: str, pushed_to: str = "") -> str:
    """Return the markup. ``space_id`` is the name of the Space, empty elsewhere; ``pushed_to`` the repository of the copy."""
    if pushed_to:
        text = f"The storage is temporary. After a restart, the data folder is restored from {escape(pushed_to)}."
    elif space_id:
        settings = f"https://huggingface.co/spaces/{escape(space_id, quote=True)}/settings"
        text = (
            "<strong>The storage of this Space is temporary.</strong> A restart deletes runs, models, images and settings. "
            f'Mount a bucket at /data in the <a href="{settings}" target="_blank" rel="noopener">settings of the Space</a>, '
            "or set ONETRAINER_GRADIO_PUSH_TO."
        )
    else:
        text = (
            "<strong>The data folder is inside the container.</strong> Removing the container deletes runs, models, images and "
            "settings. Mount a volume at the data folder."
        )
    return f'<aside id="og-storage" aria-label="Storage" style="{_STYLE}">{text}</aside>'
