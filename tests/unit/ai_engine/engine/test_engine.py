from __future__ import annotations

import base64
import gc
import re
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pydantic import ValidationError
from support.pictures import draw_disc

from ai_engine import Engine
from ai_engine.engine.engine import asset_id_of, print_options
from ai_engine.engine.generated import GenerationFailed
from ai_engine.mesh_files.read import read_mesh
from ai_engine.settings import Settings


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    monkeypatch.setenv("MODEL_VARIANT", "stand-in")
    monkeypatch.setenv("MATTING_MODEL", "none")
    with Engine() as one:
        yield one


@pytest.fixture
def disc(tmp_path: Path) -> Path:
    """A picture of a red disc on transparent ground."""
    return draw_disc(tmp_path / "disc.png")


def test_a_picture_becomes_a_mesh_with_a_report(engine: Engine, disc: Path) -> None:
    made = engine.generate(disc, height_mm=80, seed=3)

    assert made.report.watertight
    assert (made.seed, made.facts.units, made.facts.bbox[2]) == (3, "mm", 80.0)
    assert made.timings_s.keys() >= {"download", "cutout", "denoise", "decode", "finish"}


def test_a_path_and_the_bytes_of_a_picture_give_the_same_file(engine: Engine, disc: Path) -> None:
    first, second = (engine.generate(one, seed=3, name="disc") for one in (disc, disc.read_bytes()))

    assert first.data == second.data


def test_the_suffix_of_a_path_says_in_which_format_a_mesh_is_saved(
    engine: Engine, disc: Path, tmp_path: Path
) -> None:
    made = engine.generate(disc, seed=3, height_mm=40)

    files = {
        made.save(tmp_path / f"disc.{name}").suffix: (tmp_path / f"disc.{name}").read_bytes()
        for name in ("stl", "3mf", "glb")
    }

    assert files[".stl"] == made.data
    assert {read_mesh(data).format for data in files.values()} == {"stl", "3mf", "glb"}
    assert files[".3mf"] == engine.generate(disc, seed=3, height_mm=40, format="3mf").data
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "disc.3mf",
        "disc.glb",
        "disc.png",
        "disc.stl",
    ]
    with pytest.raises(ValueError, match="end in"):
        made.save(tmp_path / "disc.doc")


def test_a_data_url_gives_the_same_file_as_its_bytes(engine: Engine, disc: Path) -> None:
    url = "data:image/png;base64," + base64.b64encode(disc.read_bytes()).decode()
    assert engine.generate(url, seed=3).data == engine.generate(disc.read_bytes(), seed=3).data


def test_several_views_come_as_paths_bytes_or_urls(engine: Engine, disc: Path) -> None:
    stages: list[str] = []
    made = engine.generate(
        {"front": disc, "left": disc.read_bytes()},
        seed=3,
        progress=lambda stage, done, total: stages.append(stage),
    )
    assert made.report.watertight
    assert engine.generate({"front": str(disc), "left": disc}, seed=3, name="disc").data == made.data
    with pytest.raises(ValidationError, match="mask"):
        engine.generate({"front": "https://example.com/f.png"}, mask="https://example.com/m.png")


def test_progress_is_reported_and_may_stop_the_job(engine: Engine, disc: Path) -> None:
    stages: list[str] = []

    def stop_at_denoise(stage: str, done: int, total: int) -> None:
        stages.append(stage)
        if stage == "denoise":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.generate(disc, progress=stop_at_denoise)

    assert list(dict.fromkeys(stages)) == ["download", "cutout", "denoise"]


def test_a_picture_without_an_object_is_a_failure_with_a_code(engine: Engine, tmp_path: Path) -> None:
    Image.new("RGBA", (64, 64)).save(tmp_path / "empty.png")

    with pytest.raises(GenerationFailed) as caught:
        engine.generate(tmp_path / "empty.png")

    assert caught.value.failure.code == "no_foreground"


@pytest.mark.parametrize("fields", [{"height": 80}, {"height_mm": -1}, {"format": "step"}])
def test_fields_are_checked_before_anything_is_loaded(
    engine: Engine, disc: Path, fields: dict[str, Any]
) -> None:
    with pytest.raises(ValidationError):
        engine.generate(disc, **fields)


def test_a_mesh_is_finished_again_as_the_job_would_have(engine: Engine, disc: Path, tmp_path: Path) -> None:
    raw = engine.generate(disc, seed=3)
    wished = engine.generate(disc, seed=3, height_mm=60)

    again = engine.finish(raw.data, height_mm=60, name="disc")

    assert again.bytes_as("stl") == wished.data
    assert engine.finish(wished.data, height_mm=30).report.facts().bbox_mm[2] == 30.0
    assert engine.check(wished.data) == wished.report


def test_fields_that_are_none_of_the_finish_are_refused_by_name() -> None:
    assert print_options({"height_mm": 5.0}).height_mm == 5.0
    with pytest.raises(ValidationError, match="seed"):
        print_options({"height_mm": 5.0, "seed": 3})


def test_what_is_of_the_other_kind_of_engine_is_refused_not_ignored() -> None:
    with pytest.raises(ValueError, match="key"):
        Engine(key="aie_of_no_service")
    for given in ({"settings": Settings()}, {"accept_licence": True}):
        with pytest.raises(ValueError, match="this process"):
            Engine("https://mesh.example.com", **given)
    for address in ("", "mesh.example.com", "http://mesh.example.com:port"):
        with pytest.raises(ValueError, match="address"):
            Engine(address)


@pytest.mark.parametrize("there", ["disc.png", "https://example.com/disc.png"])
@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"image_url": "https://example.com/b.png"}, "image_url"),
        ({"cut_out_id": "0" * 32}, "cut_out_id"),
        ({"mask": "{there}", "matting_model": "tiny"}, "mask"),
        ({"views": ("front", "left"), "mask": "{there}"}, "mask"),
        ({"views": ("front", "top")}, "top"),
        ({"views": ()}, "name one of"),
    ],
)
def test_pictures_that_do_not_go_together_are_refused_whether_files_or_urls(
    engine: Engine,
    disc: Path,
    there: str,
    fields: dict[str, Any],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(disc.parent)
    given: dict[str, Any] = {name: there if value == "{there}" else value for name, value in fields.items()}
    picture: Any = dict.fromkeys(given.pop("views"), there) if "views" in given else there
    with pytest.raises(ValueError, match=words):
        engine.generate(picture, **given)


@pytest.mark.parametrize(
    "fields",
    [{"webhook_url": "https://example.com/"}, {"upload_url": "https://example.com/"}, {"priority": 3}],
)
def test_what_only_a_service_can_do_is_refused_not_ignored(
    engine: Engine, disc: Path, fields: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match="service"):
        engine.generate(disc, **fields)
    with Engine("https://mesh.example.com") as there:
        assert there.request(disc, **fields)[0].model_dump().items() >= fields.items()


def test_the_model_of_a_service_is_asked_for_with_every_picture(disc: Path) -> None:
    with Engine("https://mesh.example.com", model="triposg") as there:
        plain, own = (there.request(disc, **fields)[0] for fields in ({}, {"model": "v2-mini"}))
    assert (plain.model, own.model) == ("triposg", "v2-mini")


def test_an_engine_that_nobody_closes_leaves_nothing_behind(
    disc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODEL_VARIANT", "stand-in")
    monkeypatch.setenv("MATTING_MODEL", "none")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", ResourceWarning)
        made = Engine().generate(disc)
        assert list((tmp_path / "temporary").iterdir())
        assert made.bytes_as("glb")
        del made
        gc.collect()
        Engine("https://mesh.example.com")
        gc.collect()
    assert [str(one.message) for one in said if one.category is ResourceWarning] == []
    assert list((tmp_path / "temporary").iterdir()) == []


def test_importing_the_package_imports_nothing_else() -> None:
    code = "import ai_engine, sys; print('pydantic' in sys.modules, 'ai_engine.engine' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False False"


def test_an_engine_with_an_address_needs_no_torch() -> None:
    code = "from ai_engine import Engine; import sys; Engine('http://127.0.0.1:9'); print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"


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
    assert asset_id_of(image) == asset_id


def test_the_snippet_of_the_readme_runs(
    disc: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MODEL_VARIANT", "stand-in")
    readme = (Path(__file__).parents[4] / "README.md").read_text(encoding="utf-8")
    (snippet,) = re.findall(r"```python\n(from ai_engine import Engine\n.*?)```", readme, re.DOTALL)
    disc.rename(disc.with_name("chair.png"))
    monkeypatch.chdir(disc.parent)

    exec(snippet, {})

    assert capsys.readouterr().out == "True\n"
    assert read_mesh((disc.parent / "chair.3mf").read_bytes()).format == "3mf"
