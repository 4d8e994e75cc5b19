"""What it costs to make a mesh ready for print: this project against trimesh and pymeshlab alone, in one run.

    python -m benchmarks.finish [--cells 352] [--rounds 3]

Both sides get the same marching-cubes mesh with floaters, and deliver a cleaned STL file and a report on what was read
back from it. Each task runs in a process of its own, on one thread; seconds are of the processor, so that a busy
machine counts little; memory is the peak above what the loaded mesh and libraries take. Writes a section of
Markdown to standard output.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

HALF_SIDE = 1.01
NUM_CRUMBS = 65
TARGET_FACES = 100_000
Task = Callable[[Any, Path], dict[str, Any]]


def make_mesh(cells: int, path: Path) -> None:
    """A wavy ring grown together with a ball, and floaters all round, by marching cubes."""
    from skimage.measure import marching_cubes

    from ai_engine.mesh.surface import signed_volumes

    axis = np.linspace(-HALF_SIDE, HALF_SIDE, cells + 1, dtype=np.float32)
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij", sparse=True)
    distance = (
        np.hypot(np.hypot(x, y) - 0.6, z) - 0.26 + 0.02 * np.sin(9 * x) * np.sin(11 * y) * np.sin(10 * z)
    )
    np.minimum(distance, np.sqrt((x - 0.2) ** 2 + (y + 0.1) ** 2 + (z - 0.45) ** 2) - 0.38, out=distance)
    for centre in np.random.default_rng(5).uniform(-0.95, 0.95, (NUM_CRUMBS, 3)).tolist():
        near = [np.abs(axis - place) < 0.05 for place in centre]
        floater = np.sqrt(
            sum(
                (side[mask].reshape(shape) - place) ** 2
                for side, mask, shape, place in zip(
                    (axis, axis, axis), near, ((-1, 1, 1), (1, -1, 1), (1, 1, -1)), centre, strict=True
                )
            )
        )
        block = np.ix_(*near)
        distance[block] = np.minimum(distance[block], floater - 0.015)
    vertices, faces, _, _ = marching_cubes(distance, 0.0, spacing=(2 * HALF_SIDE / cells,) * 3)
    vertices = (vertices - HALF_SIDE).astype(np.float32)
    if signed_volumes(vertices[faces]).sum() < 0:
        faces = faces[:, ::-1]
    np.savez(path, vertices=vertices, faces=np.ascontiguousarray(faces, np.int32))


def ours(mesh: Any, out: Path) -> dict[str, Any]:
    from ai_engine.mesh_files.mesh_file import through_stl
    from ai_engine.printing.prepare import finish

    _, found = finish(mesh, see=lambda finished: through_stl(finished, out / "ours.stl"))
    return {"faces": found.num_faces, "watertight": found.is_watertight, "bodies": found.num_bodies}


def ours_in_mm(mesh: Any, out: Path) -> dict[str, Any]:
    """The same with a height, which adds the walls to the report."""
    from ai_engine.mesh_files.mesh_file import through_stl
    from ai_engine.printing.prepare import finish
    from ai_engine.wishes.print_options import PrintOptions

    wishes = PrintOptions(height_mm=100)
    _, found = finish(mesh, wishes, see=lambda finished: through_stl(finished, out / "ours.stl"))
    return {"faces": found.num_faces, "watertight": found.is_watertight, "wall_mm": found.smallest_wall}


def theirs(mesh: Any, out: Path) -> dict[str, Any]:
    """Clean with trimesh, write, read back, report with trimesh, self-intersections with pymeshlab."""
    import pymeshlab
    import trimesh

    whole = trimesh.Trimesh(mesh.vertices, mesh.faces, process=True)
    whole.update_faces(whole.unique_faces() & whole.nondegenerate_faces())
    parts = whole.split(only_watertight=False)
    largest = max(part.area for part in parts)
    kept = trimesh.util.concatenate([part for part in parts if part.area >= 0.005 * largest])
    kept.fix_normals()
    kept.export(out / "theirs.stl")
    read = trimesh.load_mesh(out / "theirs.stl")
    meshes = pymeshlab.MeshSet(verbose=False)
    meshes.load_new_mesh(str(out / "theirs.stl"))
    meshes.meshing_remove_duplicate_vertices()
    meshes.compute_selection_by_self_intersections_per_face()
    overhang = read.area_faces[read.face_normals[:, 2] < -np.sqrt(0.5)].sum() / read.area
    return {
        "faces": len(read.faces),
        "watertight": bool(read.is_watertight and read.is_winding_consistent),
        "bodies": int(read.body_count),
        "facts": [float(read.volume), float(read.area), read.extents.tolist(), float(overhang)],
        "crossing": int(meshes.current_mesh().selected_face_number()),
    }


def theirs_pymeshlab(mesh: Any, out: Path) -> dict[str, Any]:
    """As much as pymeshlab can do by itself: clean, write, read back, topology, geometry, self-intersections."""
    import pymeshlab

    meshes = pymeshlab.MeshSet(verbose=False)
    meshes.add_mesh(pymeshlab.Mesh(mesh.vertices.astype(np.float64), mesh.faces))
    meshes.meshing_remove_duplicate_vertices()
    meshes.meshing_remove_duplicate_faces()
    meshes.meshing_remove_null_faces()
    meshes.meshing_remove_connected_component_by_diameter(mincomponentdiag=pymeshlab.PercentageValue(5))
    meshes.meshing_re_orient_faces_coherently()
    meshes.save_current_mesh(str(out / "theirs.stl"))
    meshes.load_new_mesh(str(out / "theirs.stl"))
    meshes.meshing_remove_duplicate_vertices()
    topology = meshes.get_topological_measures()
    meshes.get_geometric_measures()
    meshes.compute_selection_by_self_intersections_per_face()
    return {
        "faces": topology["faces_number"],
        "watertight": topology["boundary_edges"] == 0 and topology["is_mesh_two_manifold"],
        "bodies": topology["connected_components_number"],
        "crossing": int(meshes.current_mesh().selected_face_number()),
    }


def simplify_ours(mesh: Any, out: Path) -> dict[str, Any]:
    from ai_engine.mesh.clean import clean
    from ai_engine.mesh.simplify import simplify

    whole, _ = clean(mesh)
    begun_s = time.process_time()
    fewer = simplify(whole, TARGET_FACES)
    seconds = time.process_time() - begun_s
    assert fewer is not None
    return {"seconds": seconds, "faces": len(fewer.faces)} | _deviation(whole, fewer)


def simplify_pymeshlab(mesh: Any, out: Path) -> dict[str, Any]:
    import pymeshlab

    from ai_engine.mesh.clean import clean
    from ai_engine.mesh.mesh import Mesh

    whole, _ = clean(mesh)
    meshes = pymeshlab.MeshSet(verbose=False)
    meshes.add_mesh(pymeshlab.Mesh(whole.vertices.astype(np.float64), whole.faces))
    begun_s = time.process_time()
    meshes.meshing_decimation_quadric_edge_collapse(targetfacenum=TARGET_FACES, preservetopology=True)
    seconds = time.process_time() - begun_s
    found = meshes.current_mesh()
    fewer = Mesh(found.vertex_matrix().astype(np.float32), found.face_matrix().astype(np.int32))
    return {"seconds": seconds, "faces": len(fewer.faces)} | _deviation(whole, fewer)


def _deviation(whole: Any, fewer: Any) -> dict[str, Any]:
    """Hausdorff distances by our measure and by pymeshlab's, and whether the surface is closed."""
    import pymeshlab

    from ai_engine.mesh.proximity import hausdorff
    from ai_engine.mesh.topology import edge_facts

    meshes = pymeshlab.MeshSet(verbose=False)
    for one in (whole, fewer):
        meshes.add_mesh(pymeshlab.Mesh(one.vertices.astype(np.float64), one.faces))
    there_and_back = [
        meshes.get_hausdorff_distance(
            sampledmesh=a, targetmesh=b, samplevert=True, sampleface=True, samplenum=200_000
        )["max"]
        for a, b in ((0, 1), (1, 0))
    ]
    closed = edge_facts(fewer.faces, len(fewer.vertices)).is_solid
    return {"hausdorff": max(there_and_back), "hausdorff_ours": hausdorff(whole, fewer), "closed": closed}


def writers(mesh: Any, out: Path) -> dict[str, Any]:
    """Seconds and bytes of each format."""
    from ai_engine.mesh_files.mesh_file import write_mesh

    found: dict[str, Any] = {}
    ways: dict[str, Callable[[Path], None]] = {
        name: (lambda path, name=name: write_mesh(mesh, path, name))  # type: ignore[misc]
        for name in ("stl", "ply", "glb", "3mf", "obj")
    }
    for name, write in ways.items():
        begun_s = time.process_time()
        write(out / "file")
        found[name] = [time.process_time() - begun_s, (out / "file").stat().st_size]
    return found


def preview(mesh: Any, out: Path) -> dict[str, Any]:
    from ai_engine.printing.preview import preview_png

    return {"bytes": len(preview_png(mesh))}


TASKS: dict[str, Task] = {
    task.__name__: task
    for task in (
        *(ours, ours_in_mm, theirs, theirs_pymeshlab),
        *(simplify_ours, simplify_pymeshlab, writers, preview),
    )
}


def run_task(name: str, mesh_path: Path) -> None:
    """In a process of its own: runs the task, prints what it found with seconds and memory."""
    import ai_engine.mesh_files.mesh_file
    import ai_engine.printing.prepare  # noqa: F401
    from ai_engine.mesh.mesh import Mesh

    if name.startswith("theirs"):
        import pymeshlab
        import trimesh  # noqa: F401

        pymeshlab.MeshSet(verbose=False)
    with np.load(mesh_path) as arrays:
        mesh = Mesh(arrays["vertices"], arrays["faces"])
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
    before_kb = _peak_kb()
    begun_s, wall_s = time.process_time(), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        found = TASKS[name](mesh, Path(folder))
    told = {
        "cpu_s": time.process_time() - begun_s,
        "wall_s": time.monotonic() - wall_s,
        "peak_mb": (_peak_kb() - before_kb) / 1024,
    }
    print(json.dumps(told | {"found": found}))


def _peak_kb() -> int:
    # Not getrusage: its peak outlives exec, so a child begins with that of its parent.
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def measured(name: str, mesh_path: Path) -> dict[str, Any]:
    """What `run_task` printed."""
    command = [sys.executable, "-m", "benchmarks.finish", "--task", name, "--mesh", str(mesh_path)]
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | one_thread)
    if done.returncode != 0:
        raise SystemExit(f"{name} failed:\n{done.stderr}")
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(f"{name}: {told}", file=sys.stderr, flush=True)
    return told


def compare(cells: int, rounds: int) -> None:
    """Runs everything in turn and prints the section."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mesh.npz"
        make_mesh(cells, path)
        with np.load(path) as arrays:
            num_faces, num_vertices = len(arrays["faces"]), len(arrays["vertices"])
        pairs = ("ours", "ours_in_mm", "theirs", "theirs_pymeshlab")
        told = {name: [] for name in pairs}
        for _ in range(rounds):
            for name in pairs:
                told[name].append(measured(name, path))
        single = {name: measured(name, path) for name in TASKS if name not in pairs}
    print(_section(cells, num_faces, num_vertices, told, single))


WORDS = {
    "ours": "ours",
    "ours_in_mm": "ours, with `height_mm`: pose and walls too",
    "theirs": "trimesh, self-intersections by pymeshlab",
    "theirs_pymeshlab": "pymeshlab alone",
    "simplify_ours": "ours",
    "simplify_pymeshlab": "pymeshlab, topology kept",
}


def _section(cells: int, num_faces: int, num_vertices: int, told: Any, single: Any) -> str:
    opening = (
        f"`python -m benchmarks.finish`: {num_faces:,} faces, {num_vertices:,} vertices, {NUM_CRUMBS + 1} parts, "
        f"{cells} cells a side; one thread, processor seconds, median of {len(told['ours'])} rounds in turn."
    )
    simplified = {name: run for name, run in single.items() if name.startswith("simplify")}
    shown = single["preview"]
    parts = (
        f"## Finishing\n\n{opening}",
        f"Clean, write STL, read it back, weld, report:\n\n{_pair_rows(told)}",
        f"To {TARGET_FACES:,} faces, Hausdorff both ways by pymeshlab (all vertices, 200,000 points):\n\n"
        + _simplified_rows(simplified, voxel=2 * HALF_SIDE / cells),
        _format_rows(single["writers"]["found"], num_faces),
        f"`preview.png`: {shown['cpu_s']:.2f} CPU s, {shown['found']['bytes'] / 1000:.0f} kB.",
    )
    return "\n\n".join(parts)


def _pair_rows(told: Any) -> str:
    base = median(run["cpu_s"] for run in told["ours"])
    rows = [
        "| | CPU s | wall s | times ours | peak MB above the mesh | came out |",
        "|---|---|---|---|---|---|",
    ]
    for name, runs in told.items():
        cpu, wall, peak = (median(run[key] for run in runs) for key in ("cpu_s", "wall_s", "peak_mb"))
        found = runs[0]["found"]
        came = f"{found['faces']:,} faces, {'watertight' if found['watertight'] else 'NOT watertight'}"
        rows.append(f"| {WORDS[name]} | {cpu:.2f} | {wall:.2f} | {cpu / base:.1f} | {peak:.0f} | {came} |")
    return "\n".join(rows)


def _simplified_rows(told: Any, *, voxel: float) -> str:
    rows = [
        "| | CPU s | faces | Hausdorff, voxels | by our own measure | closed |",
        "|---|---|---|---|---|---|",
    ]
    for name, run in told.items():
        found = run["found"]
        far, own = found["hausdorff"] / voxel, found["hausdorff_ours"] / voxel
        rows.append(
            f"| {WORDS[name]} | {found['seconds']:.2f} | {found['faces']:,} | {far:.3f} | {own:.3f} "
            f"| {'yes' if found['closed'] else 'NO'} |"
        )
    return "\n".join(rows)


def _format_rows(told: Any, num_faces: int) -> str:
    rows = ["| format | CPU s | MB | bytes a face |", "|---|---|---|---|"]
    for name, (seconds, size) in told.items():
        rows.append(f"| {name} | {seconds:.2f} | {size / 1e6:.1f} | {size / num_faces:.1f} |")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=352)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--task", choices=TASKS)
    parser.add_argument("--mesh", type=Path)
    arguments = parser.parse_args()
    if arguments.task:
        run_task(arguments.task, arguments.mesh)
    else:
        compare(arguments.cells, arguments.rounds)


if __name__ == "__main__":
    main()
