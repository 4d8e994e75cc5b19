from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image
from support.pictures import draw_disc

import main
from ai_engine.api.request_schema import JobRequest
from ai_engine.cli.field_flags import GENERATE_FIELDS
from ai_engine.engine.engine import SERVICE_FIELDS
from ai_engine.mesh_files.read import read_mesh
from ai_engine.printing import prepare

ROOT = Path(__file__).parents[4]


@pytest.fixture(autouse=True)
def _stand_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MODEL_VARIANT", "stand-in")
    monkeypatch.setenv("MATTING_MODEL", "none")
    monkeypatch.chdir(tmp_path)


def run(*arguments: str | Path | int) -> int:
    return main.main([str(one) for one in arguments])


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_picture_becomes_a_file_here_and_its_path_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("generate", draw_disc(tmp_path / "in" / "chair.png"), "--seed", 7) == 0

    said = capsys.readouterr()
    assert said.out == "chair.stl\n"
    assert "chair.png: " in said.err
    assert "closed" in said.err
    assert "seed 7" in said.err
    assert len(read_mesh((tmp_path / "chair.stl").read_bytes()).mesh.faces) > 1000


def test_the_suffix_of_the_output_says_the_format(tmp_path: Path) -> None:
    assert run("generate", draw_disc(tmp_path / "a.png"), "-o", tmp_path / "b.3mf", "--height-mm", 80) == 0
    assert read_mesh((tmp_path / "b.3mf").read_bytes()).format == "3mf"


def test_a_folder_goes_on_past_a_bad_picture_and_says_which(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.png", "c.png"):
        draw_disc(tmp_path / "in" / name)
    (tmp_path / "in" / "b.png").write_bytes(b"no picture")
    (tmp_path / "in" / "notes.txt").touch()

    assert run("generate", tmp_path / "in", "-o", tmp_path / "out", "--format", "stl", "--format", "glb") == 1

    assert names(tmp_path / "out") == ["a.glb", "a.stl", "c.glb", "c.stl"]
    said = capsys.readouterr()
    assert [Path(line).name for line in said.out.splitlines()] == ["a.stl", "a.glb", "c.stl", "c.glb"]
    assert "b.png: " in said.err
    assert "image_invalid" in said.err


def test_pictures_of_other_kinds_in_a_folder_are_refused_not_passed_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    Image.new("RGB", (64, 64)).save(tmp_path / "in" / "a.gif")
    draw_disc(tmp_path / "in" / "b.png").rename(tmp_path / "in" / "b.jfif")
    assert run("generate", "in", "--json") == 1
    gif, jfif = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert "GIF" in gif["error"]["detail"]
    assert jfif["files"] == ["b.stl"]


def test_a_folder_without_pictures_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    assert run("generate", "in") == 0
    assert capsys.readouterr() == ("", "in: no pictures there\n")


def test_what_is_there_already_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.png", "b.png"):
        draw_disc(tmp_path / "in" / name)
    (tmp_path / "a.stl").write_bytes(b"mine")

    assert run("generate", tmp_path / "in", "--skip-existing") == 0

    assert (tmp_path / "a.stl").read_bytes() == b"mine"
    assert capsys.readouterr().out == "b.stl\n"


def test_pictures_with_the_same_stem_do_not_overwrite_each_other(tmp_path: Path) -> None:
    draw_disc(tmp_path / "in" / "a.png")
    Image.open(draw_disc(tmp_path / "in" / "a.webp")).close()

    assert run("generate", tmp_path / "in", "-o", f"{tmp_path}/out/") == 0
    assert names(tmp_path / "out") == ["a.png.stl", "a.webp.stl"]


def test_json_has_a_line_for_each_picture_failed_ones_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw_disc(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "b.png").write_bytes(b"no picture")

    assert run("generate", tmp_path / "in", "--json", "--seed", 5) == 1

    good, bad = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (good["seed"], good["files"], good["report"]["watertight"]) == (5, ["a.stl"], True)
    assert bad["error"]["code"] == "image_invalid"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--height-mm", "-3"],
        ["-o", "b.doc"],
        ["-o", "b.stl", "--format", "glb"],
        ["-o", "-", "--format", "stl", "--format", "glb"],
        ["--seed", "many"],
        ["--base", "{bad"],
        ["--model", "nothing-of-that-name"],
        ["--key", "aie_of_no_service"],
        ["--watch"],
        ["--mask", "a.png", "--matting-model", "tiny"],
        ["b.png", "--mask", "a.png"],
        ["--server", "mesh.example.com"],
        ["--server", "http://localhost:1", "--accept-licence"],
    ],
)
def test_a_command_line_that_makes_no_sense_is_usage(
    tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("generate", draw_disc(tmp_path / "a.png"), *arguments) == 2
    assert capsys.readouterr().err.startswith("ai-engine generate: ")
    assert names(tmp_path) == ["a.png"]


def test_several_pictures_do_not_go_into_one_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.png", "b.png"):
        draw_disc(tmp_path / name)
    assert run("generate", "a.png", "b.png", "-o", "c.stl") == 2
    assert "name a folder" in capsys.readouterr().err
    assert names(tmp_path) == ["a.png", "b.png"]


@pytest.mark.parametrize(
    ("name", "value"), [("MODEL_PATH", "absent.safetensors"), ("JOBS_IN_FLIGHT", "many")]
)
def test_a_setting_that_can_not_be_used_is_named_and_has_a_status_of_its_own(
    tmp_path: Path,
    name: str,
    value: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("MODEL_VARIANT")
    monkeypatch.setenv(name, value)
    assert run("generate", draw_disc(tmp_path / "a.png")) == 78
    assert name in capsys.readouterr().err


def test_a_folder_of_meshes_that_can_not_be_made_costs_no_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").write_bytes(b"a file")
    assert run("generate", draw_disc(tmp_path / "a.png"), "-o", "out/") == 1
    said = capsys.readouterr().err
    assert "File exists" in said or "Not a directory" in said
    assert "denoise" not in said


def test_a_long_data_url_is_a_picture_of_its_own(tmp_path: Path) -> None:
    picture = base64.b64encode(draw_disc(tmp_path / "a.png").read_bytes()).decode()
    assert run("generate", f"data:image/png;base64,{picture}", "-o", "out/") == 0
    assert names(tmp_path / "out") == ["mesh.stl"]


def test_a_picture_that_is_not_there_is_a_failure_that_names_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("generate", "absent.png") == 1
    assert "absent.png: No such file" in capsys.readouterr().err


def test_a_fault_of_our_own_is_said_and_the_other_pictures_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.png", "b.png"):
        draw_disc(tmp_path / "in" / name)
    broken = iter([RuntimeError("a bug"), None])

    def find(*_: object, **__: object) -> None:
        if (error := next(broken)) is not None:
            raise error

    monkeypatch.setattr(prepare, "find_ghost_plane", find)

    assert run("generate", tmp_path / "in", "--json") == 1

    bad, good = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert bad["error"] == {"code": "internal", "detail": "RuntimeError: a bug"}
    assert good["files"] == ["b.stl"]


def test_a_data_url_without_a_picture_is_a_failure_with_a_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("generate", "data:text/plain,hello", "--json") == 1
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "image_invalid"


def test_not_printable_has_an_exit_status_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare, "find_ghost_plane", lambda *_, **__: "wall")
    assert run("generate", draw_disc(tmp_path / "a.png"), "--require-printable") == 3
    assert names(tmp_path) == ["a.png"]


def test_every_field_of_a_request_is_a_flag_or_named_as_none() -> None:
    assert set(GENERATE_FIELDS) | SERVICE_FIELDS == set(JobRequest.model_fields)
    options = main._parser(["generate"]).parse_args(["generate", "a.png"])
    assert {name for name in GENERATE_FIELDS if hasattr(options, name)} == set(GENERATE_FIELDS)


def test_views_of_one_object_are_no_pictures_besides(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = draw_disc(tmp_path / "f.png")
    assert run("generate", picture, "--front", picture) == 2
    assert run("generate") == 2
    assert names(tmp_path) == ["f.png"]
    assert run("generate", "--front", picture, "--left", picture, "-o", tmp_path / "toy.3mf") == 0
    assert names(tmp_path) == ["f.png", "toy.3mf"]


def command(*arguments: str) -> list[str]:
    return [sys.executable, str(ROOT / "main.py"), "generate", *arguments]


def test_standard_input_to_standard_output(tmp_path: Path) -> None:
    picture = draw_disc(tmp_path / "a.png").read_bytes()
    done = subprocess.run(
        command("-", "-o", "-", "--format", "glb"), input=picture, capture_output=True, check=True
    )
    assert read_mesh(done.stdout).format == "glb"


def test_an_interruption_leaves_whole_files_alone(tmp_path: Path) -> None:
    for number in range(20):
        draw_disc(tmp_path / "in" / f"{number}.png")
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    with subprocess.Popen(
        command("in", "-o", "out", "--format", "stl", "--format", "3mf"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"TMPDIR": str(temporary)},
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
        assert process.wait(60) == 130
    assert said.splitlines()[-1] == "interrupted"
    assert "Traceback" not in said
    assert list(temporary.iterdir()) == []
    for path in (tmp_path / "out").iterdir():
        assert read_mesh(path.read_bytes()).format == path.suffix[1:]


def test_watching_takes_a_new_picture_and_ends_at_sigterm(tmp_path: Path) -> None:
    draw_disc(tmp_path / "in" / "a.png")
    with subprocess.Popen(
        command("in", "-o", "out", "--watch"), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"{Path('out') / 'a.stl'}\n"
        new = draw_disc(tmp_path / "new.png")
        os.utime(new, (time.time() - 60, time.time() - 60))
        new.rename(tmp_path / "in" / "b.png")
        assert process.stdout.readline() == f"{Path('out') / 'b.stl'}\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 130
    assert names(tmp_path / "out") == ["a.stl", "b.stl"]
