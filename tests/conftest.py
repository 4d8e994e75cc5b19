"""Shape annotations of the model are checked while tests run; in production they cost nothing."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

from jaxtyping import install_import_hook

install_import_hook(
    [
        "hy3dgen.dit",
        "hy3dgen.shape_vae",
        "hy3dgen.conditioner",
        "hy3dgen.schedule",
        "hy3dgen.layers",
        "hy3dgen.velocity",
    ],
    "beartype.beartype",
)
