"""What `pip install .` gives: the wheel in an environment of its own, with the dependencies of this one beside it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FOLDERS = ("ai_engine", "hy3dgen", "models", "examples")
FILES = ("main.py", "pyproject.toml", "requirements.txt", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `ai-engine` command of an environment that has the wheel."""
    folder = tmp_path_factory.mktemp("installed")
    source = folder / "source"
    source.mkdir()
    # A copy: the build writes beside what it reads.
    for folder_name in FOLDERS:
        shutil.copytree(
            ROOT / folder_name, source / folder_name, ignore=shutil.ignore_patterns("__pycache__")
        )
    for file_name in FILES:
        shutil.copy(ROOT / file_name, source / file_name)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", folder, source], check=True)
    (wheel,) = folder.glob("ai_engine-*.whl")
    venv.create(folder / "env", with_pip=False)
    python = folder / "env" / "bin" / "python"
    subprocess.run([*pip, "--python", python, "install", "--no-deps", wheel], check=True)
    (own,) = (folder / "env" / "lib").glob("python*/site-packages")
    (own / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return folder / "env" / "bin" / "ai-engine"


def test_one_command_from_a_picture_to_a_mesh_without_the_repository(installed: Path, tmp_path: Path) -> None:
    shutil.copy(ROOT / "examples" / "pictures" / "mug.png", tmp_path / "mug.png")

    done = subprocess.run(
        [installed, "generate", "mug.png", "--octree-resolution", "64", "--num-inference-steps", "4"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == "mug.stl\n"
    assert subprocess.run([installed, "check", "mug.stl"], cwd=tmp_path).returncode == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mug.png", "mug.stl"]


def test_the_command_has_everything_that_main_has(installed: Path, tmp_path: Path) -> None:
    said = subprocess.check_output([installed, "--help"], cwd=tmp_path, text=True)

    for name in (
        "generate",
        "finish",
        "check",
        "mcp",
        "serve",
        "api",
        "worker",
        "demo",
        "doctor",
        "fetch-weights",
        "new-key",
        "webhook-test",
    ):
        assert f"    {name}" in said
    assert "ai-engine" in said


def test_the_code_that_runs_is_that_of_the_wheel(installed: Path, tmp_path: Path) -> None:
    code = (
        "import ai_engine, ai_engine.settings as s; print(ai_engine.__file__); print(s.Settings().model_path)"
    )
    said = subprocess.check_output([installed.parent / "python", "-c", code], cwd=tmp_path, text=True)
    assert [line for line in said.splitlines() if str(ROOT) in line] == []
    assert said.count(str(installed.parents[1])) == 2
