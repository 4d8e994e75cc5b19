"""Mesh to printable mesh, and a report of what a slicer will find. Knows no files and no jobs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ai_engine.mesh import Mesh


@dataclass(frozen=True)
class PrintReport:
    """What is true of a mesh, in its own units."""

    is_watertight: bool
    """Every edge has exactly two faces, which run along it in opposite directions."""
    is_winding_consistent: bool
    """No two faces run along an edge in the same direction."""
    num_bodies: int
    """Parts that share no vertex."""
    num_vertices: int
    num_faces: int
    volume: float
    """Enclosed volume; negative when the faces look inwards, meaningless unless watertight."""
    bbox: tuple[float, float, float]
    """Side lengths of the bounding box along x, y, z."""
    warnings: tuple[str, ...]
    """Whole sentences for the caller; empty when there is nothing to say."""


def finish(mesh: Mesh) -> tuple[Mesh, PrintReport]:
    """The mesh as it will be delivered, and the report on it."""
    return mesh, report(mesh)


def report(mesh: Mesh) -> PrintReport:
    """What is true of `mesh`, faces taken by their vertex numbers as they are."""
    is_closed, is_consistent = _edge_facts(mesh.faces, len(mesh.vertices))
    num_bodies = _num_bodies(mesh.faces, len(mesh.vertices))
    volume = _volume(mesh)
    return PrintReport(
        is_watertight=is_closed and is_consistent,
        is_winding_consistent=is_consistent,
        num_bodies=num_bodies,
        num_vertices=len(mesh.vertices),
        num_faces=len(mesh.faces),
        volume=volume,
        bbox=_side_lengths(mesh),
        warnings=tuple(_warnings(is_closed, is_consistent, num_bodies, volume)),
    )


def _edge_facts(faces: NDArray[np.int32], num_vertices: int) -> tuple[bool, bool]:
    """Whether the surface is closed, and whether its faces agree on which side is out.

    Each face has three directed edges. With one number per directed edge, sorted, both facts are
    comparisons of neighbours: agreement means that none occurs twice, closed that each undirected one does.
    """
    if len(faces) == 0:
        return False, True
    start = faces.astype(np.int64)
    end = np.roll(start, -1, axis=1)
    directed = np.sort((start * num_vertices + end).ravel())
    undirected = np.sort((np.minimum(start, end) * num_vertices + np.maximum(start, end)).ravel())
    is_consistent = bool(np.all(directed[1:] != directed[:-1]))
    return _all_in_pairs(undirected), is_consistent


def _all_in_pairs(keys: NDArray[np.int64]) -> bool:
    """True when each value of the sorted `keys` occurs exactly twice."""
    if len(keys) % 2:
        return False
    first, second = keys[0::2], keys[1::2]
    return bool(np.all(first == second) and np.all(second[:-1] != first[1:]))


def _num_bodies(faces: NDArray[np.int32], num_vertices: int) -> int:
    if len(faces) == 0:
        return 0
    # Two of a face's three edges already tie its corners together.
    start, end = faces[:, :2].ravel(), faces[:, 1:].ravel()
    graph = coo_array((np.ones(len(start), np.bool_), (start, end)), shape=(num_vertices, num_vertices))
    _, labels = connected_components(graph, directed=False)
    return len(np.unique(labels[faces[:, 0]]))


def _volume(mesh: Mesh) -> float:
    corners = mesh.corners().astype(np.float64)
    return float(np.einsum("ij,ij->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6.0)


def _side_lengths(mesh: Mesh) -> tuple[float, float, float]:
    if len(mesh.faces) == 0:
        return (0.0, 0.0, 0.0)
    x, y, z = np.ptp(mesh.vertices[np.unique(mesh.faces)], axis=0).tolist()
    return (x, y, z)


def _warnings(is_closed: bool, is_consistent: bool, num_bodies: int, volume: float) -> list[str]:
    findings = (
        (not is_closed, "The surface is not closed."),
        (not is_consistent, "Some faces look the wrong way."),
        (num_bodies > 1, f"The mesh has {num_bodies} separate parts."),
        (is_closed and is_consistent and volume <= 0, "The faces look inwards."),
    )
    return [sentence for is_true, sentence in findings if is_true]
