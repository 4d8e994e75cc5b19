from __future__ import annotations

import io
import json
from pathlib import Path

import httpx2
import numpy as np
import pytest
from PIL import Image

from ai_engine.cli.demo import SAMPLE_PICTURE, _asset_id, _printable, _server_sent, run_demo
from ai_engine.cli.demo_server import demo_peer, read_multipart
from ai_engine.cli.demo_service import DemoFailed
from ai_engine.cli.progress_bars import StageBars
from ai_engine.pipeline.fake_model import sphere
from ai_engine.printing.stl import read_stl, write_stl


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


@pytest.mark.parametrize(
    ("image", "asset_id"),
    [
        ("examples/pictures/vase.png", "vase"),
        ("C:\\Pictures\\my cat (1).jpeg", "my-cat-1"),
        ("https://example.com/a/b.webp?size=1", "b"),
        ("https://example.com/", "example"),
        ("...", "picture"),
        ("ü.png", "picture"),
    ],
)
def test_the_result_is_named_after_the_picture(image: str, asset_id: str) -> None:
    assert _asset_id(image) == asset_id


def test_an_open_mesh_is_not_accepted(tmp_path: Path) -> None:
    whole = sphere(1.0)
    write_stl(type(whole)(whole.vertices, whole.faces[1:]), tmp_path / "open.stl")
    with pytest.raises(DemoFailed, match="not closed"):
        _printable((tmp_path / "open.stl").read_bytes())


def test_server_sent_events_are_read_and_comments_passed_over() -> None:
    lines = [
        ": still here",
        "",
        "id: 0",
        "event: progress",
        'data: {"done": 1}',
        "",
        "event: done",
        "data: {}",
        "",
    ]
    assert list(_server_sent(iter(lines))) == [("progress", {"done": 1}), ("done", {})]


def test_the_peer_gives_its_picture_and_keeps_what_is_delivered() -> None:
    file = np.random.default_rng(0).bytes(100_000) + b"\r\n--\r\n"
    with demo_peer(b"picture bytes") as peer, httpx2.Client(trust_env=False) as client:
        assert client.get(peer.picture_url).content == b"picture bytes"
        assert client.get(peer.origin + "/other").status_code == 404
        sent = {"status": "completed", "event": json.dumps({"a": 1})}
        client.post(peer.webhook_url, data=sent, files={"file": ("a.stl", file, "model/stl")})
        received = peer.deliveries.get(timeout=5)
    assert (received.values, received.file, received.file_name) == (sent, file, "a.stl")
    assert received.headers["content-type"].startswith("multipart/form-data")


def test_a_failure_has_no_file() -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="code"\r\n\r\nno_foreground\r\n--b--\r\n'
    received = read_multipart({"content-type": "multipart/form-data; boundary=b"}, body)
    assert (received.values, received.file) == ({"code": "no_foreground"}, None)


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def test_each_stage_gets_one_line_where_the_output_is_no_terminal() -> None:
    stream = io.StringIO()
    bars = StageBars(stream, clock=iter([0.0, 1.5, 2.0, 4.25]).__next__)
    for done in range(3):
        bars.show("denoise", done, 2)
    bars.show("finish", 0, 1)
    bars.close()
    lines = stream.getvalue().splitlines()
    assert [line.split()[0] for line in lines] == ["denoise", "finish"]
    assert lines[0].endswith("2/2    1.5 s")
    assert lines[1].endswith("2.2 s")


def test_on_a_terminal_the_bar_grows_in_its_line() -> None:
    stream = Terminal()
    bars = StageBars(stream, clock=lambda: 0.0)
    bars.show("denoise", 1, 4)
    bars.show("denoise", 2, 4)
    frames = stream.getvalue().split("\r")
    assert frames[1].count("█") < frames[2].count("█")
    assert "\n" not in stream.getvalue()
