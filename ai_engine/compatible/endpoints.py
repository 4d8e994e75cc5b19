"""The compatible routes added to the API, as COMPATIBLE_ROUTES names them."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.applications import Starlette

from ai_engine.compatible import hunyuan3d, meshes
from ai_engine.settings import CompatibleRoutes


def add_compatible(app: Starlette, names: Iterable[CompatibleRoutes]) -> None:
    """Serves the routes of these names at `app`; they stand in no API document."""
    known = {"meshes": meshes.routes, "hunyuan3d": hunyuan3d.routes}
    for name in names:
        app.router.routes.extend(known[name]())
