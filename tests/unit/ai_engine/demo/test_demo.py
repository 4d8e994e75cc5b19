from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from ai_engine.demo.demo import SAMPLE_PICTURE, _read_printable, run_demo
from ai_engine.demo.service import DemoFailed
from ai_engine.mesh_files.stl import read_stl, write_stl
from ai_engine.pipeline.fake_model import sphere


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_VARIANT", "stand-in")
    monkeypatch.setenv("PORT", "1")
    monkeypatch.setenv("WEBHOOK_FORMAT", "binary")


@pytest.mark.usefixtures("stand_in")
def test_the_demo_leaves_a_mesh_and_a_strip_and_says_where(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_demo(None, tmp_path / "out") == 0
    said = capsys.readouterr().out
    name = SAMPLE_PICTURE.stem
    assert len(read_stl((tmp_path / "out" / f"{name}.stl").read_bytes()).faces) > 1000
    with Image.open(tmp_path / "out" / f"{name}.png") as strip:
        assert strip.width > 3.5 * strip.height
    for words in ("download", "cutout", "denoise", "decode", "in all", str(tmp_path / "out" / f"{name}.stl")):
        assert words in said


@pytest.mark.usefixtures("stand_in")
def test_the_demo_says_why_a_job_failed_and_exits_with_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "plain.png"
    Image.new("RGB", (64, 64), "teal").save(picture)
    assert run_demo(str(picture), tmp_path / "out") == 1
    assert "no_foreground" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_picture_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_demo(str(tmp_path / "none.png"), tmp_path / "out") == 1
    assert "none.png" in capsys.readouterr().err


def test_an_open_mesh_is_not_accepted(tmp_path: Path) -> None:
    whole = sphere(1.0)
    write_stl(type(whole)(whole.vertices, whole.faces[1:]), tmp_path / "open.stl")
    with pytest.raises(DemoFailed, match="not closed"):
        _read_printable((tmp_path / "open.stl").read_bytes())
