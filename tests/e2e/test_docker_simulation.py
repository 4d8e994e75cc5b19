"""The script that a user runs, in the form that needs no Docker, and its words where Docker is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPT = REPOSITORY / "test_docker_simulation.py"


def run(*options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), "--receiver-port", "0", *options],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def fake_docker(folder: Path, answers: str) -> str:
    """A PATH on which `docker` is a script of ours."""
    docker = folder / "docker"
    docker.write_text(f"#!{shutil.which('sh')}\n{answers}\n")
    docker.chmod(0o755)
    return str(folder)


needs_sh = pytest.mark.skipif(os.name == "nt", reason="the stand-in for docker is a shell script")


def test_the_service_as_a_process_delivers_a_closed_mesh_and_stops(tmp_path: Path) -> None:
    done = run("--local", "--octree-resolution", "64", "--output", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ALL WELL" in done.stdout
    assert "stopped with status 0" in done.stdout
    assert (tmp_path / "vase-1.stl").stat().st_size > 84


def test_a_machine_without_docker_is_told_what_to_do(tmp_path: Path) -> None:
    done = run(PATH=str(tmp_path))
    assert done.returncode == 2
    assert "Docker is not installed" in done.stderr
    assert "--local" in done.stderr


@needs_sh
def test_a_daemon_that_does_not_answer_is_told(tmp_path: Path) -> None:
    done = run(PATH=fake_docker(tmp_path, "exit 1"))
    assert done.returncode == 2
    assert "daemon does not answer" in done.stderr


@needs_sh
@pytest.mark.parametrize(("answer", "told"), [("echo 2.20.3", "2.20.3"), ("exit 1", "is missing")])
def test_a_compose_that_is_too_old_or_missing_is_told(tmp_path: Path, answer: str, told: str) -> None:
    path = fake_docker(tmp_path, f'if [ "$1" = info ]; then echo 28.0; else {answer}; fi')
    done = run(PATH=path)
    assert done.returncode == 2
    assert f"`docker compose` {told}; 2.24.4 or newer is needed" in done.stderr


def test_a_picture_that_is_not_there_is_told(tmp_path: Path) -> None:
    done = run("--local", "--image", str(tmp_path / "none.png"))
    assert done.returncode == 2
    assert "the picture can't be read" in done.stderr
