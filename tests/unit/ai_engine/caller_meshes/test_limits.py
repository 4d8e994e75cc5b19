from __future__ import annotations

from ai_engine.caller_meshes.limits import MeshLimits
from ai_engine.settings import Settings


def test_the_settings_bound_bytes_faces_and_the_download() -> None:
    settings = Settings(mesh_max_bytes=1_500_000, mesh_max_faces=700, download_timeout_s=7)

    limits = MeshLimits.of(settings)

    assert (limits.max_bytes, limits.max_faces, limits.timeout_s) == (1_500_000, 700, 7)
    assert limits.over == "The mesh file has more than 1.5 MB."
