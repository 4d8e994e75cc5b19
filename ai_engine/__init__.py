"""The service: turns the URL of a picture into a mesh at a webhook. Knows no tensors.

`from ai_engine import Engine` makes meshes from Python; nothing of it is imported before that.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ai_engine.engine.engine import Engine

__version__ = "0.1.0"
__all__ = ["Engine", "__version__"]


def __getattr__(name: str) -> object:
    if name != "Engine":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # By its name: no room that imports this package depends on the engine.
    return getattr(import_module("ai_engine.engine.engine"), name)
