"""Makes the surface of a solid out of what came: floaters dropped, doubles removed, holes closed, faces turned out.

A mesh in good order goes through the short way: two sorts, and it is given back as it is. Knows no units and no files.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ai_engine.mesh.containment import windings
from ai_engine.mesh.holes import fill_holes
from ai_engine.mesh.mesh import Mesh
from ai_engine.mesh.non_manifold import draw_in_seams, part_seams, take_out_solids
from ai_engine.mesh.surface import diagonal, row_lengths, volumes_above
from ai_engine.mesh.topology import (
    Faces,
    compact,
    components,
    edge_facts,
    edge_groups,
    face_bodies,
    together,
    weld,
    weld_rims,
)
from ai_engine.mesh.unite import meets_larger, unite

MIN_PART_SHARE = 0.005
"""Parts with less of the surface than this share of the largest one's are floaters."""
WELD_SHARE = 1e-4
"""Open edges nearer than this share of the bounding box's diagonal belong together: 1/25 of a voxel at octree 256."""
MIN_SOLIDITY = 1e-9
"""A part whose volume is below this share of its area to the power of 3/2 encloses nothing: a sheet lying on itself."""


@dataclass(frozen=True)
class Repairs:
    """What had to be done to a mesh, counted."""

    unusable_faces_removed: int = 0
    """Faces with a coordinate that is no finite number, or with two corners at one place."""
    rim_vertices_joined: int = 0
    """Vertices on open edges that lay as good as at one place with another."""
    double_faces_removed: int = 0
    faces_turned: int = 0
    seams_parted: int = 0
    """Vertices duplicated to split non-manifold edges and vertices."""
    holes_filled: int = 0
    parts_dropped: int = 0
    bodies_joined: int = 0
    """Bodies that overlapped another or shared a wall with it, and became part of it."""
    bad_edges_left: int = 0
    """Edges that still don't have two faces which agree."""
    mended_by_meshlab: int = 0
    """1 where the rest was left to it."""

    def counts(self) -> dict[str, int]:
        """Those that are not zero, by name."""
        return {name: count for name, count in asdict(self).items() if count}


def clean(mesh: Mesh, *, min_part_share: float = MIN_PART_SHARE) -> tuple[Mesh, Repairs]:
    """A mesh without floaters, as near to the surface of a solid as can be; `mesh` itself when it is one.

    Bodies that overlap or share a wall become one: a small one is a floater only where it is joined to none. Holes that
    are large and not flat stay open, for the report to show.
    """
    apart, bodies, repairs = _solids(mesh, min_part_share)
    whole, num_seams, num_joined = _join(apart, bodies, repairs), repairs.seams_parted, 0
    if whole is not apart:
        num_before = np.count_nonzero(bodies.volumes > 0)
        whole, bodies, more = _solids(whole, 0.0)
        num_seams, num_joined = more.seams_parted, int(num_before - np.count_nonzero(bodies.volumes > 0))
    kept, _, num_dropped = _drop_floaters(whole, bodies, min_part_share)
    mended = draw_in_seams(kept) if num_seams else kept
    return mended, replace(
        repairs, bodies_joined=num_joined, parts_dropped=repairs.parts_dropped + num_dropped
    )


def _solids(mesh: Mesh, min_part_share: float) -> tuple[Mesh, _Bodies, Repairs]:
    """The surfaces of the solids in `mesh`, each with vertices of its own, and of floaters those that meet a larger."""
    usable = _usable(mesh)
    repairs = Repairs(unusable_faces_removed=len(mesh.faces) - len(usable.faces))
    if not edge_facts(usable.faces, len(usable.vertices)).is_solid:
        usable, repairs = _make_solid(usable, repairs)
    if len(usable.faces) == 0:
        return usable, _Bodies(np.zeros(0, np.int32), np.zeros(0), np.zeros(0)), repairs
    can_join = repairs.bad_edges_left == 0
    kept, bodies, num_dropped = _drop_floaters(usable, _bodies(usable), min_part_share, but_meeting=can_join)
    outward, turned, num_turned = _turn_outward(kept, bodies)
    faces_turned = repairs.faces_turned + num_turned
    return outward, turned, replace(repairs, parts_dropped=num_dropped, faces_turned=faces_turned)


def _join(mesh: Mesh, bodies: _Bodies, repairs: Repairs) -> Mesh:
    """With bodies that overlap or share a wall made one; hollows are no bodies here."""
    is_solid = repairs.bad_edges_left == 0 and len(mesh.faces) > 0
    if not is_solid:
        return mesh
    return unite(mesh, bodies.labels, bodies.volumes, tolerance=WELD_SHARE * diagonal(mesh))


def _make_solid(mesh: Mesh, repairs: Repairs) -> tuple[Mesh, Repairs]:
    """The long way, for a mesh whose edges don't all have two faces that agree."""
    welded = weld_rims(mesh, WELD_SHARE * diagonal(mesh))
    solids, rest = take_out_solids(welded)
    single = _without_doubles(rest)
    agreeing, num_turned = _agreeing(single)
    filled, num_holes = fill_holes(part_seams(agreeing))
    whole = together(solids, filled)
    return whole, replace(
        repairs,
        rim_vertices_joined=len(mesh.vertices) - len(welded.vertices),
        double_faces_removed=len(rest.faces) - len(single.faces),
        faces_turned=num_turned,
        seams_parted=len(whole.vertices) - len(weld(whole).vertices),
        holes_filled=num_holes,
        bad_edges_left=edge_facts(whole.faces, len(whole.vertices)).num_bad,
    )


def _usable(mesh: Mesh) -> Mesh:
    """Only faces with three finite corners at three places."""
    is_finite = np.isfinite(mesh.vertices)
    if not is_finite.all():
        mesh = compact(mesh.vertices, mesh.faces[is_finite[mesh.faces].all(axis=(1, 2))])
    joined = weld(mesh)
    a, b, c = joined.faces.T
    is_triangle = (a != b) & (b != c) & (c != a)
    return joined if is_triangle.all() else compact(joined.vertices, joined.faces[is_triangle])


def _without_doubles(mesh: Mesh) -> Mesh:
    """Of equal faces one; of a face and its opposite neither, for they enclose nothing."""
    ascending = np.sort(mesh.faces, axis=1)
    _, group, counts = np.unique(ascending, axis=0, return_inverse=True, return_counts=True)
    if counts.max(initial=1) == 1:
        return mesh
    a, b, c = mesh.faces.T
    looks_up = ((a < b).astype(np.int8) + (b < c) + (c < a)) == 2
    balance = np.bincount(group, np.where(looks_up, 1, -1), len(counts))
    first = np.full((len(counts), 2), len(mesh.faces))
    np.minimum.at(first, (group, looks_up.astype(np.int64)), np.arange(len(mesh.faces)))
    kept = np.concatenate([first[balance < 0, 0], first[balance > 0, 1]])
    return compact(mesh.vertices, mesh.faces[np.sort(kept)])


def _agreeing(mesh: Mesh) -> tuple[Mesh, int]:
    """Faces turned so that neighbours agree, each part keeping the side that more of its faces had; and how many.

    Every face is there twice, as it is and turned. Links across the edges tie together what agrees: two halves,
    of which one is taken. A part that ties a face to itself turned (a Möbius strip) stays as it is.
    """
    num_faces = len(mesh.faces)
    groups = edge_groups(mesh.faces, len(mesh.vertices))
    begin = groups.starts[:-1][groups.counts == 2]
    one, other = groups.half_edges[begin] // 3, groups.half_edges[begin + 1] // 3
    differs = np.equal(groups.runs_up[begin], groups.runs_up[begin + 1])
    if not differs.any():
        return mesh, 0
    start = np.concatenate([one, one + num_faces])
    end = np.concatenate([other + num_faces * differs, other + num_faces * ~differs])
    labels = components(start, end, 2 * num_faces)
    as_is, turned = labels[:num_faces], labels[num_faces:]
    sizes = np.bincount(as_is, minlength=labels.max() + 1)
    is_turned = (sizes[turned] > sizes[as_is]) | ((sizes[turned] == sizes[as_is]) & (turned < as_is))
    return Mesh(mesh.vertices, _turn(mesh.faces, is_turned)), int(np.count_nonzero(is_turned))


def _turn(faces: Faces, is_turned: NDArray[np.bool_]) -> Faces:
    return np.where(is_turned[:, None], faces[:, ::-1], faces)


@dataclass(frozen=True, eq=False)
class _Bodies:
    """The bodies of a mesh."""

    labels: NDArray[np.int32]
    """Of each face."""
    areas: NDArray[np.float64]
    volumes: NDArray[np.float64]
    """Negative where the faces look inwards."""


def _bodies(mesh: Mesh) -> _Bodies:
    labels = face_bodies(mesh.faces, len(mesh.vertices))
    # From near the middle: a small body far from the origin would be a small difference of large numbers.
    areas, volumes = row_lengths(mesh.area_vectors), volumes_above(mesh, mesh.vertices.mean(axis=0))
    return _Bodies(
        labels, *(np.bincount(labels, of_faces).astype(np.float64) for of_faces in (areas, volumes))
    )


def _drop_floaters(
    mesh: Mesh, bodies: _Bodies, min_share: float, *, but_meeting: bool = False
) -> tuple[Mesh, _Bodies, int]:
    """Without parts that are small beside the largest, or enclose nothing; and how many those were.

    `but_meeting`: those stay that touch or cut a larger one.
    """
    is_kept = bodies.areas >= min_share * bodies.areas.max(initial=0)
    is_solid = np.abs(bodies.volumes) > MIN_SOLIDITY * bodies.areas**1.5
    if but_meeting and not is_kept.all():
        is_small = ~is_kept & is_solid
        is_kept |= meets_larger(mesh, bodies.labels, is_small, tolerance=WELD_SHARE * diagonal(mesh))
    is_kept &= is_solid
    if is_kept.all():
        return mesh, bodies, 0
    stays = is_kept[bodies.labels]
    labels = (np.cumsum(is_kept) - 1).astype(np.int32)[bodies.labels[stays]]
    kept = _Bodies(labels, bodies.areas[is_kept], bodies.volumes[is_kept])
    return compact(mesh.vertices, mesh.faces[stays]), kept, int(np.count_nonzero(~is_kept))


def _turn_outward(mesh: Mesh, bodies: _Bodies) -> tuple[Mesh, _Bodies, int]:
    """With the faces of every body looking out, but into the hollow where it bounds one; and how many were turned."""
    volumes = bodies.volumes
    if len(volumes) == 0 or volumes.min() > 0:
        return mesh, bodies, 0
    # The body with the most volume lies in no other: when it is inside out, so is the whole mesh.
    is_inside_out = bool(volumes[np.abs(volumes).argmax()] < 0)
    odd = np.flatnonzero((volumes < 0) != is_inside_out)
    goes_round = np.abs(np.asarray(windings(mesh, bodies.labels, odd).sum(axis=1))) > 0
    is_turned = np.full(len(volumes), is_inside_out)
    is_turned[odd] ^= ~goes_round
    if not is_turned.any():
        return mesh, bodies, 0
    turned = is_turned[bodies.labels]
    outward = replace(bodies, volumes=np.where(is_turned, -volumes, volumes))
    return Mesh(mesh.vertices, _turn(mesh.faces, turned)), outward, int(np.count_nonzero(turned))
