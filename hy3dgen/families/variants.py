"""Settings of a checkpoint that no tensor shape shows, looked up by variant name.

The published values are literals in `VARIANTS` (source: the published config files).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hy3dgen.errors import CheckpointError
from hy3dgen.networks.image_encoder import PATCH_PX, ConditionerConfig
from hy3dgen.networks.stream_dit import DiTConfig
from hy3dgen.networks.vecset_decoder import VAEConfig
from hy3dgen.sampling import Schedule
from hy3dgen.weights.tensor_file import Shapes

PUBLISHED_PREFIX = "hunyuan3d-dit-"
GUIDANCE_INPUT = "model.guidance_in."
"""What the names of a guidance input begin with."""

BORDER_RATIO = 0.15
GUIDANCE_SCALE = 5.0
"""What the published models, and files that do not say, are asked with."""
EMBEDDED_MODELS = ("ai-engine-tiny", "ai-engine-tiny-1.1", "ai-engine-tiny-1.2", "ai-engine-tiny-1.3")
"""What the header of the embedded model calls it: every version, the newest last."""


@dataclass(frozen=True)
class Settings:
    """Settings that no tensor shape shows: `num_latents` tokens a shape, sizes in px, the time schedule, the views."""

    num_latents: int = 3072
    scale_factor: float = 0.9990943042622529
    image_encoder_px: int = 518
    image_px: int = 512
    border_ratio: float = BORDER_RATIO
    schedule: Schedule = "flow"
    consistency_timesteps: int | None = None
    is_multi_view: bool = False
    default_steps: int = 50
    default_guidance: float = GUIDANCE_SCALE
    image_encoder_heads: int | None = None
    vae_heads: int | None = None
    model_id: str = "unknown"

    def __post_init__(self) -> None:
        if self.schedule not in ("flow", "consistency"):
            raise CheckpointError(f"schedule must be 'flow' or 'consistency', got {self.schedule!r}")
        if self.image_encoder_px % PATCH_PX:
            raise CheckpointError(
                f"image_encoder_px must be a multiple of {PATCH_PX}, got {self.image_encoder_px}"
            )
        if self.scale_factor <= 0 or self.num_latents <= 0:
            raise CheckpointError("scale_factor and num_latents must be positive")

    def update(self, changes: dict[str, Any] | None, *, origin: str) -> Settings:
        """These settings with `changes` applied; `None` values for required numbers keep the old one.

        Raises:
            CheckpointError: a name in `changes` is no setting; `origin` says where it came from.
        """
        known = set(Settings.__dataclass_fields__)
        unknown = sorted(set(changes or {}) - known)
        if unknown:
            raise CheckpointError(f"{origin}: unknown settings {unknown}; known are {sorted(known)}")
        return replace(self, **(changes or {}))


@dataclass(frozen=True)
class ModelConfig:
    """Everything needed to build the three networks and to sample from them."""

    dit: DiTConfig
    vae: VAEConfig
    conditioner: ConditionerConfig
    settings: Settings


_TURBO: dict[str, Any] = {"schedule": "consistency", "consistency_timesteps": 100, "default_steps": 5}
_MINI: dict[str, Any] = {"num_latents": 512, "scale_factor": 1.0188137142395404}
_MINI_TURBO: dict[str, Any] = {
    **_MINI,
    **_TURBO,
    "num_latents": 3072,
    "image_encoder_px": 1022,
    "image_px": 1022,
}
_MULTI_VIEW: dict[str, Any] = {"is_multi_view": True}

VARIANTS: dict[str, Settings] = {
    name: Settings(model_id=f"{PUBLISHED_PREFIX}{name}", **changes)
    for name, changes in {
        "v2-0": {},
        "v2-0-fast": {},
        "v2-0-turbo": _TURBO,
        "v2-mini": _MINI,
        "v2-mini-fast": _MINI,
        "v2-mini-turbo": _MINI_TURBO,
        "v2-mv": _MULTI_VIEW,
        "v2-mv-fast": _MULTI_VIEW,
        "v2-mv-turbo": {**_TURBO, **_MULTI_VIEW},
    }.items()
}


def variant_settings(name: str) -> Settings:
    """The published settings of variant `name`; a `hunyuan3d-dit-` prefix is allowed.

    Raises:
        CheckpointError: no such variant.
    """
    short = name.lower().removeprefix(PUBLISHED_PREFIX)
    if short not in VARIANTS:
        raise CheckpointError(f"unknown variant {name!r}; known are {', '.join(VARIANTS)}")
    return VARIANTS[short]


def read_settings(
    path: Path,
    shapes: Shapes,
    header: Mapping[str, str],
    variant: str | None,
    overrides: Mapping[str, Any],
) -> Settings:
    """Settings that no tensor shape shows, from all sources; the later source wins.

    Raises:
        CheckpointError: unknown names or values, or a variant that contradicts the tensors.
    """
    settings = replace(VARIANTS[variant_of_size(shapes)], model_id=path.stem)
    named = variant or variant_in_path(path)
    if named is not None:
        settings = variant_settings(named)
        _check_variant(named, shapes)
    if "config" in header and variant is None:
        settings = settings.update(_header_config(path, header["config"]), origin=f"header of {path.name}")
    return settings.update(dict(overrides), origin="overrides")


def variant_of_size(shapes: Shapes) -> str:
    """The variant that the tensors are of, by the number of blocks and whether guidance is an input."""
    size = "v2-mini" if "model.single_blocks.16.linear1.weight" not in shapes else "v2-0"
    return f"{size}-fast" if _has_guidance(shapes) else size


def variant_in_path(path: Path) -> str | None:
    """The published variant that a file or folder on `path` is named after, if any; the longest name wins."""
    for text in (path.stem.lower(), path.parent.name.lower()):
        found = [name for name in VARIANTS if re.search(rf"{PUBLISHED_PREFIX}{name}(?![a-z0-9-])", text)]
        if found:
            return max(found, key=len)
    return None


def _has_guidance(shapes: Shapes) -> bool:
    return any(name.startswith(GUIDANCE_INPUT) for name in shapes)


def _check_variant(name: str, shapes: Shapes) -> None:
    has_guidance = _has_guidance(shapes)
    if name.endswith(("-fast", "-turbo")) != has_guidance:
        found = "has" if has_guidance else "lacks"
        raise CheckpointError(f"variant {name} contradicts the file, which {found} guidance tensors")
    if ("mini" in name) != ("mini" in variant_of_size(shapes)):
        raise CheckpointError(f"variant {name} contradicts the file's number of single blocks")


def _header_config(path: Path, text: str) -> dict[str, Any]:
    try:
        config = json.loads(text)
    except ValueError as error:
        raise CheckpointError(f"the config header of {path.name} is not JSON") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"the config header of {path.name} is not a JSON object")
    return config
