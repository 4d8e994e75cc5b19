"""The marching cubes table, derived from one rule per face. Knows no fields and no meshes.

A cell has 8 corners, 12 edges and 6 faces; its *code* has bit c set where corner c is inside (above the level). A
surface crosses an edge whose two ends differ. On each face the crossings are joined in pairs by the four signs of
that face alone, always cutting inside corners off from each other; so the two cells that share a face draw the same
lines on it, and the surface has no cracks. The lines close to loops round the cell; a loop becomes triangles by
chords that never lie in a face, so no edge is used by more than two triangles of neighbouring cells.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

NUM_CODES = 256
CORNERS = tuple((corner & 1, corner >> 1 & 1, corner >> 2 & 1) for corner in range(8))
"""The offset of each corner along x, y, z."""

EDGES = tuple((corner, axis) for axis in range(3) for corner in range(8) if not corner >> axis & 1)
"""Each edge as its lower corner and the axis it runs along."""

FACES = tuple((axis, side) for axis in range(3) for side in (0, 1))
"""Each face as the axis it is normal to and the side of the cell it lies on."""

Triangle = tuple[int, int, int]
Loop = tuple[int, ...]


@dataclass(frozen=True)
class CodeTable:
    """What the 256 codes mean, one row a code: `triangles` as edges, wound so that normals leave the inside."""

    triangles: tuple[tuple[Triangle, ...], ...]
    crossed_edges: tuple[tuple[bool, ...], ...]
    mixed_faces: tuple[tuple[bool, ...], ...]


@cache
def code_table() -> CodeTable:
    """The whole table, made once in a few milliseconds."""
    codes = range(NUM_CODES)
    return CodeTable(
        triangles=tuple(tuple(triangles_of(code)) for code in codes),
        crossed_edges=tuple(tuple(_differ(code, edge_corners(edge)) for edge in range(12)) for code in codes),
        mixed_faces=tuple(tuple(_differ(code, face_corners(face)) for face in range(6)) for code in codes),
    )


def triangles_of(code: int) -> Iterator[Triangle]:
    """The triangles of one code, loop by loop."""
    for loop in loops_of(code):
        yield from _first_without_face_chords(loop)


def loops_of(code: int) -> list[Loop]:
    """The closed loops of crossed edges round the cell, counter-clockwise seen from outside the body."""
    following = dict(line for face in range(6) for line in _lines_on_face(code, face))
    loops = []
    while following:
        edge, after = following.popitem()
        loop = [edge]
        while after != edge:
            loop.append(after)
            after = following.pop(after)
        smallest = loop.index(min(loop))
        loops.append(tuple(loop[smallest:] + loop[:smallest]))
    return sorted(loops)


def edge_corners(edge: int) -> tuple[int, int]:
    """The lower and the upper corner of an edge."""
    corner, axis = EDGES[edge]
    return corner, corner | 1 << axis


def face_corners(face: int) -> tuple[int, int, int, int]:
    """The corners of a face, counter-clockwise seen from outside the cell."""
    axis, side = FACES[face]
    second, third = 1 << (axis + 1) % 3, 1 << (axis + 2) % 3
    start = side << axis
    turn = (start, start | second, start | second | third, start | third)
    return turn if side else turn[::-1]


def share_a_face(one: int, other: int) -> bool:
    """True when two edges lie in one face, so that a chord between them would too."""
    return any({*edge_corners(one), *edge_corners(other)} <= {*face_corners(face)} for face in range(6))


def _lines_on_face(code: int, face: int) -> Iterator[tuple[int, int]]:
    """The lines drawn on a face, each from the edge where a walk round it comes inside to where it goes out."""
    corners = face_corners(face)
    entered = [
        at for at in range(4) if not _is_inside(code, corners[at - 1]) and _is_inside(code, corners[at])
    ]
    for at in entered:
        last = at
        while _is_inside(code, corners[(last + 1) % 4]):
            last += 1
        came_in = _edge_between(corners[at - 1], corners[at])
        went_out = _edge_between(corners[last % 4], corners[(last + 1) % 4])
        yield came_in, went_out


def _first_without_face_chords(loop: Loop) -> Sequence[Triangle]:
    for triangles in triangulations(loop):
        if not any(share_a_face(*chord) for chord in chords(loop, triangles)):
            return triangles
    raise AssertionError(f"loop {loop} has no triangulation without a chord in a face")


def triangulations(loop: Loop) -> Iterator[list[Triangle]]:
    """Every way to cut a loop into triangles by chords between its corners."""
    if len(loop) < 3:
        yield []
        return
    first, last = loop[0], loop[-1]
    for apex in range(1, len(loop) - 1):
        for left in triangulations(loop[: apex + 1]):
            for right in triangulations(loop[apex:]):
                yield [(first, loop[apex], last), *left, *right]


def chords(loop: Loop, triangles: Sequence[Triangle]) -> set[tuple[int, int]]:
    """The edges of the triangles that are not lines of the loop."""
    lines = {frozenset(line) for line in pairwise((*loop, loop[0]))}
    edges = {frozenset(edge) for triangle in triangles for edge in pairwise((*triangle, triangle[0]))}
    return {tuple(sorted(edge)) for edge in edges - lines}  # type: ignore[misc]


def _is_inside(code: int, corner: int) -> bool:
    return bool(code >> corner & 1)


def _differ(code: int, corners: Sequence[int]) -> bool:
    return len({_is_inside(code, corner) for corner in corners}) == 2


def _edge_between(one: int, other: int) -> int:
    return EDGES.index((min(one, other), (one ^ other).bit_length() - 1))
