"""A caller's own pedestal: what it has to be before an object is joined to it."""

from __future__ import annotations

from ai_engine.errors import AdditionUnfit, MeshUnreadable
from ai_engine.facts import MeshFormat
from ai_engine.mesh.clean import clean
from ai_engine.mesh.mesh import Mesh
from ai_engine.mesh.topology import edge_facts
from ai_engine.stage import Stage

FORMATS: tuple[MeshFormat, ...] = ("stl", "3mf")


def make_pedestal(mesh: Mesh, file_format: MeshFormat) -> Mesh:
    """The pedestal as a solid, mended as any mesh is; `mesh` is in millimetres with Z up.

    Raises:
        MeshUnreadable: it came in another format.
        AdditionUnfit: it bounds no solid.
    """
    if file_format not in FORMATS:
        raise MeshUnreadable(f"A pedestal comes as STL or 3MF, not as {file_format.upper()}.")
    solid, _ = clean(mesh, min_part_share=0.0)
    if len(solid.faces) == 0 or not edge_facts(solid.faces, len(solid.vertices)).is_solid:
        raise AdditionUnfit("The pedestal is not closed: it bounds no solid.", stage=Stage.DOWNLOAD)
    return solid
