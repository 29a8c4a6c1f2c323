"""Read the gradient norm from the function with which OneTrainer clips gradients."""

from __future__ import annotations

from typing import Any

FUNCTION = "clip_grad_norm_"


class GradientNorms:
    """The norms that clipping returned since the last update; ``torch`` is the library, or None without it.

    With a fused back pass, OneTrainer clips the gradient of each weight separately.
    """

    def __init__(self, torch: Any) -> None:
        self._torch = torch
        self._module = getattr(getattr(torch, "nn", None), "utils", None)
        self._original = getattr(self._module, FUNCTION, None)
        self._norms: list[Any] = []

    def listen(self) -> None:
        """Read every norm from now on."""
        original, norms = self._original, self._norms
        if original is None:
            return

        def clip(*values: Any, **named: Any) -> Any:
            norm = original(*values, **named)
            norms.append(norm)
            return norm

        setattr(self._module, FUNCTION, clip)

    def take(self) -> float | None:
        """Return the norm of all gradients of an update, or None if they weren't clipped."""
        norms = list(self._norms)
        self._norms.clear()
        if not norms:
            return None
        if len(norms) == 1:
            return float(norms[0])
        return float(self._torch.stack([norm.float() for norm in norms]).norm())

    def close(self) -> None:
        """Restore the function."""
        if self._original is not None:
            setattr(self._module, FUNCTION, self._original)
