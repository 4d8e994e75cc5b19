"""All that is added to a posed mesh, in the one order that jobs, variants and commands share: hollow, base, attach."""

from __future__ import annotations

from dataclasses import dataclass

from ai_engine.additions.attach import attach
from ai_engine.additions.base import add_base, add_pedestal, contact_depth
from ai_engine.additions.hollow import hollow
from ai_engine.additions.solid import Added
from ai_engine.errors import AdditionUnfit
from ai_engine.facts import AdditionFacts
from ai_engine.mesh.mesh import Mesh
from ai_engine.wishes.additions import Base
from ai_engine.wishes.print_options import PrintOptions


@dataclass(frozen=True, eq=False)
class AllAdded:
    """The mesh with all that was asked for, the facts of each addition, and what is to be said of them."""

    mesh: Mesh
    facts: tuple[AdditionFacts, ...] = ()
    remarks: tuple[str, ...] = ()

    def and_then(self, added: Added) -> AllAdded:
        """With one more addition."""
        return AllAdded(added.mesh, (*self.facts, added.facts), (*self.remarks, *added.remarks))


def add_all(mesh: Mesh, options: PrintOptions, pedestal: Mesh | None = None) -> AllAdded:
    """The mesh, in millimetres with Z up on z = 0, hollowed, on its base, with its ring or pocket. `pedestal` is what
    `base.mesh_url` names.

    Raises:
        AdditionUnfit: the mesh is no solid, or a wish does not fit it.
    """
    found = AllAdded(mesh)
    # Measured before the object is hollow: how much of it touches does not change with what is inside.
    depth = contact_depth(mesh) if options.base is not None else None
    if options.hollow is not None:
        floor_z = None if depth is None else float(mesh.vertices[:, 2].min()) + depth
        found = found.and_then(hollow(found.mesh, options.hollow, floor_z=floor_z))
    if options.base is not None:
        found = found.and_then(_stand_on(found.mesh, options.base, pedestal, depth))
    if options.attach is not None:
        found = found.and_then(attach(found.mesh, options.attach))
    return found


def _stand_on(mesh: Mesh, options: Base, pedestal: Mesh | None, depth: float | None) -> Added:
    if options.mesh_url is None:
        return add_base(mesh, options, depth=depth)
    if pedestal is None:
        raise AdditionUnfit("The pedestal of base.mesh_url is not there.")
    return add_pedestal(mesh, pedestal, depth=depth)
