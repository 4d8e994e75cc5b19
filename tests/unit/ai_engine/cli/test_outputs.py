from __future__ import annotations

from pathlib import Path

import pytest

from ai_engine.cli.endings import UsageError
from ai_engine.cli.outputs import Outputs, stem_of


def test_a_file_is_named_after_its_source_in_each_format() -> None:
    outputs = Outputs.of(None, ["stl", "glb", "stl"], is_single=True)
    assert outputs.paths("chair") == [Path("chair.stl"), Path("chair.glb")]


@pytest.mark.parametrize(
    ("out", "formats", "is_single", "path"),
    [
        ("b.3mf", None, True, "b.3mf"),
        ("b.glb", ["glb"], True, "b.glb"),
        ("meshes/", None, True, "meshes/chair.stl"),
        ("meshes", ["ply"], True, "meshes/chair.ply"),
        ("v1.2", None, False, "v1.2/chair.stl"),
    ],
)
def test_out_is_a_file_or_a_folder(out: str, formats: list[str] | None, is_single: bool, path: str) -> None:
    assert Outputs.of(out, formats, is_single=is_single).paths("chair") == [Path(path)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("out", "formats"),
    [("a.step", None), ("a.stl", ["glb"]), ("a.stl", ["stl", "glb"]), ("-", ["stl", "glb"])],
)
def test_what_does_not_go_together_is_refused(out: str, formats: list[str] | None) -> None:
    with pytest.raises(UsageError):
        Outputs.of(out, formats, is_single=True)  # type: ignore[arg-type]


def test_several_meshes_do_not_go_to_standard_output() -> None:
    with pytest.raises(UsageError, match="one mesh"):
        Outputs.of("-", None, is_single=False)


def test_a_file_that_can_not_be_made_leaves_nothing_behind(tmp_path: Path) -> None:
    def fail(_: str) -> bytes:
        raise OSError("full")

    with pytest.raises(OSError, match="full"):
        Outputs.of(f"{tmp_path}/a.stl", None, is_single=True).write("a", fail)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "stem"),
    [("a/b.png", "b"), ("https://x.test/c.webp?v=1", "c"), ("https://x.test/", "x"), ("?", "mesh")],
)
def test_a_mesh_is_called_after_its_source(name: str, stem: str) -> None:
    assert stem_of(name) == stem
