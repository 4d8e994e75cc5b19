"""What tensor shapes do not tell about a checkpoint: its settings, looked up by variant name.

The published values are literals in `VARIANTS` (source: the published config files).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from hy3dgen.errors import CheckpointError
from hy3dgen.networks.image_encoder import PATCH_PX, ConditionerConfig
from hy3dgen.networks.stream_dit import DiTConfig
from hy3dgen.networks.vecset_decoder import VAEConfig
from hy3dgen.sampling import Schedule

BORDER_RATIO = 0.15
DEFAULT_GUIDANCE = 5.0


@dataclass(frozen=True)
class Settings:
    """What no tensor tells: `num_latents` tokens a shape, sizes in px, the time schedule, the views."""

    num_latents: int = 3072
    scale_factor: float = 0.9990943042622529
    image_encoder_px: int = 518
    image_px: int = 512
    border_ratio: float = BORDER_RATIO
    schedule: Schedule = "flow"
    consistency_timesteps: int | None = None
    is_multi_view: bool = False
    default_steps: int = 50
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

    def updated(self, changes: dict[str, Any] | None, *, origin: str) -> Settings:
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
    name: Settings(model_id=f"hunyuan3d-dit-{name}", **changes)
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
    short = name.lower().removeprefix("hunyuan3d-dit-")
    if short not in VARIANTS:
        raise CheckpointError(f"unknown variant {name!r}; known are {', '.join(VARIANTS)}")
    return VARIANTS[short]
