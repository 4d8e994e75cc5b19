"""What the simulation looks at: its own STL reader and its reader of webhooks, against files that are wrong."""

from __future__ import annotations

import importlib.util
import json
import struct
import sys
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "test_docker_simulation.py"
_spec = importlib.util.spec_from_file_location("docker_simulation", SCRIPT)
assert _spec is not None
assert _spec.loader is not None
simulation = importlib.util.module_from_spec(_spec)
sys.modules["docker_simulation"] = simulation
_spec.loader.exec_module(simulation)

Point = tuple[float, float, float]
Triangle = tuple[Point, Point, Point]


def stl(triangles: Sequence[Triangle]) -> bytes:
    bodies = (
        struct.pack("<12fH", 0, 0, 0, *(value for point in face for value in point), 0) for face in triangles
    )
    return bytes(80) + struct.pack("<I", len(triangles)) + b"".join(bodies)


def tetrahedron(height: float = 1.0) -> list[Triangle]:
    a, b, c, d = (0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, height)
    return [(a, c, b), (a, b, d), (b, c, d), (c, a, d)]


def delivery(file: bytes, **changes: str) -> object:
    artifact = {"size": len(file), "sha256": sha256(file).hexdigest(), "faces": (len(file) - 84) // 50}
    event = json.dumps({"data": {"artifact": artifact, "print": {"watertight": True}}})
    names = {"session_id": "simulation", "asset_id": "vase-1", "job_id": "j1", "status": "completed"}
    return simulation.Delivery({**names, "event": event, **changes}, "vase-1.stl", "model/stl", file)


def wrong_ones(found: list[tuple[bool, str]]) -> list[str]:
    return [what.split(":")[0] for is_right, what in found if not is_right]


def test_a_closed_body_has_its_volume() -> None:
    facts = simulation.read_stl(stl(tetrahedron()))
    assert facts.is_closed
    assert facts.volume == pytest.approx(1 / 6)
    assert facts.sides == (1.0, 1.0, 1.0)


def test_a_body_with_a_hole_is_not_closed() -> None:
    assert not simulation.read_stl(stl(tetrahedron()[1:])).is_closed


def test_a_body_with_one_face_the_wrong_way_round_is_not_closed() -> None:
    (a, b, c), *rest = tetrahedron()
    assert not simulation.read_stl(stl([(a, c, b), *rest])).is_closed


@pytest.mark.parametrize("file", [b"", bytes(84), stl(tetrahedron())[:-1], stl(tetrahedron()) + b"x"])
def test_what_is_no_whole_stl_file_is_wrong(file: bytes) -> None:
    with pytest.raises(simulation.Wrong, match="the STL file"):
        simulation.read_stl(file)


def test_a_good_delivery_passes_every_check() -> None:
    assert wrong_ones(simulation.checks(delivery(stl(tetrahedron())), "j1")) == []


def test_a_wall_is_found_out() -> None:
    assert wrong_ones(simulation.checks(delivery(stl(tetrahedron(0.01))), "j1")) == ["not flat"]


def test_a_body_turned_inside_out_is_found_out() -> None:
    inside_out = [(a, c, b) for a, b, c in tetrahedron()]
    assert wrong_ones(simulation.checks(delivery(stl(inside_out)), "j1")) == ["closed, outside out"]


def test_another_jobs_name_is_found_out() -> None:
    assert wrong_ones(simulation.checks(delivery(stl(tetrahedron())), "j2")) == ["names"]


def test_a_failed_job_is_told_in_its_own_words() -> None:
    with pytest.raises(simulation.Wrong, match=r"no object \(no_foreground\)"):
        simulation.checks(delivery(b"", status="failed", error="no object", code="no_foreground"), "j1")


def test_a_form_is_read_part_by_part_with_bytes_that_look_like_line_ends() -> None:
    file = b"\r\n--x\r\n\r\n"
    body = (
        b'--end\r\nContent-Disposition: form-data; name="asset_id"\r\n\r\na1\r\n'
        b'--end\r\nContent-Disposition: form-data; name="file"; filename="a1.stl"\r\n'
        b"Content-Type: model/stl\r\n\r\n" + file + b"\r\n--end--\r\n"
    )
    got = simulation.read_multipart("multipart/form-data; boundary=end", body)
    assert got == simulation.Delivery({"asset_id": "a1"}, "a1.stl", "model/stl", file)
