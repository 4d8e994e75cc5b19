"""The slicer's process: the real one where it is installed, and programs that misbehave in its place."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest
from service.house import wait_for
from support.slicing import needs_slicer, program
from support.solid_shapes import cube, joined

from ai_engine.errors import SliceFailed
from ai_engine.mesh.mesh import Mesh
from ai_engine.mesh_files.mesh_file import write_mesh
from ai_engine.printing.report import report
from ai_engine.settings import Settings
from ai_engine.slicing.slicer import MAX_SENTENCE_CHARS, Slicer
from ai_engine.wishes.slicing import Slice

TIME = "; estimated printing time (normal mode) = 1h 30m 0s"


def written(mesh: Mesh, path: Path) -> Path:
    write_mesh(mesh, path, "stl")
    return path


def standing_in(folder: Path, script: str) -> Slicer:
    return Slicer(program(folder / "slicer.sh", script), timeout_s=20)


@needs_slicer
def test_the_slicer_weighs_and_times_a_cube_and_says_so_twice_alike(tmp_path: Path) -> None:
    stl = written(cube(20.0, (0, 0, 10)), tmp_path / "a.stl")
    found = Slicer().slice(stl, tmp_path / "a.gcode", Slice())
    again = Slicer().slice(stl, tmp_path / "b.gcode", Slice())

    estimate = report(cube(20.0), units="mm").costs
    assert estimate is not None
    assert found.grams == pytest.approx(estimate.grams["pla"], rel=0.35)
    assert found.hours == pytest.approx(estimate.hours, rel=0.5)
    assert (found.layers, found.support_share) == (100, 0.0)
    assert found.slicer.startswith("PrusaSlicer 2.")
    gcode = (tmp_path / "a.gcode").read_bytes()
    assert (len(gcode), hashlib.sha256(gcode).hexdigest()) == (found.gcode_bytes, found.gcode_sha256)
    assert again == found
    assert str(tmp_path).encode() not in gcode


@needs_slicer
def test_what_hangs_over_is_held_by_supports_where_the_settings_say_so(tmp_path: Path) -> None:
    # A small cube that carries a large one.
    stl = written(joined(cube(6.0, (0, 0, 3)), cube(16.0, (0, 0, 14))), tmp_path / "a.stl")

    found = Slicer().slice(stl, tmp_path / "a.gcode", Slice(print_settings="supports"))
    assert 0.05 < found.support_share < 0.9


@needs_slicer
def test_the_slicer_s_own_sentence_is_the_failure_s(tmp_path: Path) -> None:
    stl = written(cube(500.0), tmp_path / "a.stl")
    with pytest.raises(SliceFailed, match="fit on the bed") as caught:
        Slicer().slice(stl, tmp_path / "a.gcode", Slice())
    assert (caught.value.code, caught.value.stage, caught.value.retryable) == (
        "slice_failed",
        "finish",
        False,
    )


@needs_slicer
def test_too_little_memory_is_a_failure_and_no_crash(tmp_path: Path) -> None:
    stl = written(cube(20.0), tmp_path / "a.stl")
    with pytest.raises(SliceFailed):
        Slicer(max_memory_bytes=100_000_000).slice(stl, tmp_path / "a.gcode", Slice())


@needs_slicer
def test_the_version_is_the_program_s() -> None:
    version = Slicer().version()
    assert version is not None
    assert version.startswith("PrusaSlicer 2.")


def test_a_slicer_that_is_not_there_is_refused_with_what_to_install(tmp_path: Path) -> None:
    absent = Slicer("no-such-slicer")
    refusal = absent.offer().refusal(Slice())

    assert refusal is not None
    assert (refusal.field, refusal.code) == ("slice", "slicer_missing")
    assert "apt-get install prusa-slicer" in refusal.reason
    assert absent.version() is None
    absent.check(None)
    with pytest.raises(SliceFailed, match="PrusaSlicer"):
        absent.slice(tmp_path / "a.stl", tmp_path / "a.gcode", Slice())


def test_a_profile_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    refusal = standing_in(tmp_path, "exit 0").offer().refusal(Slice(filament="abs"))

    assert refusal is not None
    assert (refusal.field, refusal.code) == ("slice.filament", "profile_unknown")
    assert refusal.reason == "known are: petg, pla"


def test_a_program_that_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    script = f"sleep 600 & echo $! > {tmp_path}/child; sleep 600"
    slicer = replace(standing_in(tmp_path, script), timeout_s=1.0)

    with pytest.raises(SliceFailed, match="longer than 1 s"):
        slicer.slice(tmp_path / "a.stl", tmp_path / "a.gcode", Slice())
    child = Path("/proc", (tmp_path / "child").read_text().strip(), "stat")
    wait_for(lambda: not child.exists() or child.read_text().split()[2] in "ZX", "the child is dead")


def test_a_caller_who_stops_ends_the_program(tmp_path: Path) -> None:
    class StoppedError(Exception):
        pass

    def stop() -> None:
        raise StoppedError

    slicer = standing_in(tmp_path, f"echo $$ > {tmp_path}/pid; exec sleep 600")
    with pytest.raises(StoppedError):
        slicer.slice(tmp_path / "a.stl", tmp_path / "a.gcode", Slice(), on_wait=stop)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_the_environment_of_the_program_is_clean_and_its_home_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEBHOOK_SECRET", "whsec_c2VjcmV0")
    slicer = standing_in(tmp_path, f'env > {tmp_path}/env; echo "{TIME}" > "$OUT"')

    found = slicer.slice(tmp_path / "a.stl", tmp_path / "a.gcode", Slice())
    seen = dict(line.split("=", 1) for line in (tmp_path / "env").read_text().splitlines())
    assert set(seen) - {"_", "PWD", "SHLVL", "OLDPWD"} == {"PATH", "HOME", "TMPDIR", "LC_ALL"}
    assert not Path(seen["HOME"]).exists()
    assert (found.hours, found.grams) == (1.5, None)


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        ("exit 0", "it ended without G-code"),
        ("echo 'what():  Too thin at /home/me/secret.stl'; exit 1", "Too thin at the file"),
        ("echo G28 > \"$OUT\"", "does not say how long"),
        ("head -c 100000 /dev/zero | tr '\\0' x; exit 3", "xxx"),
    ],
)  # fmt: skip
def test_a_failure_is_one_bounded_sentence_without_a_path(tmp_path: Path, script: str, sentence: str) -> None:
    with pytest.raises(SliceFailed, match=sentence) as caught:
        standing_in(tmp_path, script).slice(tmp_path / "a.stl", tmp_path / "a.gcode", Slice())
    assert len(caught.value.detail) <= MAX_SENTENCE_CHARS + len("PrusaSlicer: ")
    assert "/home" not in caught.value.detail


def test_the_settings_name_command_profiles_and_limits(tmp_path: Path) -> None:
    slicer = Slicer.of(
        Settings(slicer="ps", slicer_profiles=tmp_path, slicer_timeout_s=9, slicer_max_memory_bytes=10**9)
    )
    assert slicer == Slicer("ps", tmp_path, 9.0, 10**9)
    assert Slicer.of(Settings()) == Slicer()
