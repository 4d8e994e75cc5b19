"""Weights on first use, against a server that plays the hub: the real command, another address and table."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants
from support.hub_server import Hub, hub_server
from support.pictures import draw_disc

import main
from ai_engine.cli.endings import EXIT_USAGE
from ai_engine.engine.engine import Engine
from ai_engine.errors import StartupError
from ai_engine.published_weights import FOLDERS, SHAPE_MODELS, HubOrigin, WeightsFolder
from ai_engine.settings import EMBEDDED_MODEL, Settings, find_shipped
from ai_engine.weights import first_use
from ai_engine.weights.first_use import NotAgreed, find_wished, known_models

TINY = find_shipped(str(EMBEDDED_MODEL)).read_bytes()
"""Plays published weights: a checkpoint that can be loaded."""
REVISION = "a" * 40
FILE = f"owner/name/resolve/{REVISION}/model.safetensors"
PATH = Path("models/played/model.safetensors")
"""Not in the published folder: its name would say of which variant the file is."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A hub whose v2-0, under Tencent's licence, and triposg, under MIT's, are the embedded model's file."""
    origin = HubOrigin("owner/name", REVISION, "model.safetensors")
    sha256 = hashlib.sha256(TINY).hexdigest()
    shape = replace(
        SHAPE_MODELS["v2-0"],
        path="played/model.safetensors",
        origin=origin,
        size_bytes=len(TINY),
        sha256=sha256,
    )
    licence = FOLDERS["triposg"].files[0].licence
    free = replace(shape, name="triposg", path="TripoSG/a.safetensors", licence=licence, size_bytes=None)
    monkeypatch.setattr(first_use, "SHAPE_MODELS", {"v2-0": shape})
    folder = WeightsFolder("triposg", "TripoSG/a.safetensors", (free,))
    monkeypatch.setattr(first_use, "FOLDERS", {"triposg": folder})
    with hub_server({FILE: TINY}) as one:
        template = one.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "ENDPOINT", one.url)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("MATTING_MODEL", "none")
        monkeypatch.chdir(tmp_path)
        draw_disc(tmp_path / "a.png")
        yield one


def generate(*options: str) -> int:
    quick = ("--num-inference-steps", "1", "--octree-resolution", "32")
    return main.main(["generate", "a.png", *quick, *options])


def test_weights_come_on_first_use_once_size_and_licence_were_said(
    hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    assert generate("--model", "v2-0", "--accept-licence") == 0

    said = capsys.readouterr()
    assert said.out == "a.stl\n"
    size = f"v2-0: {len(TINY) / 1e9:.2f} GB to download"
    assert said.err.index("South Korea") < said.err.index(size) < said.err.index("begins at 0 bytes")
    assert PATH.read_bytes() == TINY


def test_the_second_use_asks_the_network_nothing(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    PATH.parent.mkdir(parents=True)
    PATH.write_bytes(TINY)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("MODEL_PATH", "v2-0")

    assert generate() == 0
    assert hub.requests == []


def test_without_consent_nothing_is_downloaded(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    assert generate("--model", "v2-0") == EXIT_USAGE

    said = capsys.readouterr()
    assert (said.out, hub.requests) == ("", [])
    assert "European Union" in said.err
    assert "--accept-licence" in said.err


def test_a_free_licence_needs_no_consent_and_the_hub_says_the_size(
    hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    assert generate("--model", "triposg") == 0

    said = capsys.readouterr().err
    assert said.index("MIT License") < said.index(f"triposg: {len(TINY) / 1e9:.2f} GB to download")
    assert Path("models/TripoSG/a.safetensors").read_bytes() == TINY


QUICK: dict[str, Any] = {"num_inference_steps": 1, "octree_resolution": 32}


def test_python_has_them_on_first_use_too(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    with Engine(model="triposg") as engine:
        assert hub.requests == []
        assert engine.generate("a.png", **QUICK).data

    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.index("MIT License") < said.err.index("GB to download")


def test_python_is_asked_for_consent_by_an_argument(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_PATH", "v2-0")
    with pytest.raises(NotAgreed, match="accept_licence=True"), Engine() as engine:
        engine.generate("a.png", **QUICK)
    assert hub.requests == []

    with Engine(accept_licence=True) as engine:
        assert engine.generate("a.png", **QUICK).data
    assert PATH.read_bytes() == TINY


def test_a_service_has_them_before_its_processes_begin(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_PATH", "v2-0")
    monkeypatch.setenv("MODEL_VARIANT", "")
    supervised: list[tuple[Path, str]] = []

    def supervise(*_: object, **__: object) -> int:
        supervised.append((Settings().model_path, os.environ["MODEL_PATH"]))
        return 0

    monkeypatch.setattr(main, "supervise", supervise)
    assert main.main(["serve"]) == EXIT_USAGE
    assert (supervised, hub.requests) == ([], [])

    assert main.main(["serve", "--accept-licence"]) == 0
    assert supervised == [(PATH, str(PATH))]
    assert PATH.read_bytes() == TINY


@pytest.mark.parametrize("is_there", [False, True])
def test_what_the_territory_is_left_out_of_is_refused_there_or_not(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], is_there: bool
) -> None:
    monkeypatch.setenv("TERRITORY", "DE")
    if is_there:
        PATH.parent.mkdir(parents=True)
        PATH.write_bytes(TINY)

    assert generate("--model", "v2-0", "--accept-licence") == StartupError().exit_status

    assert "TERRITORY=DE" in capsys.readouterr().err
    assert hub.requests == []


def test_offline_nothing_is_asked_and_the_sentence_says_what_to_do(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)

    assert generate("--model", "triposg") == StartupError().exit_status

    said = capsys.readouterr().err
    assert "HF_HUB_OFFLINE is set: nothing is downloaded" in said
    assert "fetch-weights --variant triposg" in said
    assert hub.requests == []


def test_a_hub_that_has_no_such_file_is_named(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    hub.files.clear()

    assert generate("--model", "triposg") == StartupError().exit_status
    assert FILE in capsys.readouterr().err


def test_an_unknown_model_is_answered_with_those_that_are_known(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match=r"--model v9: known are default, v2-0, .*triposg"):
        find_wished("v9", Settings())


def test_a_model_of_the_settings_wins_over_a_published_one_of_its_name() -> None:
    served = Settings(models="v2-0=models/mine.safetensors,other=stand-in")

    assert find_wished("v2-0", served) is None
    assert find_wished("other", served) is None
    assert find_wished(None, served) is None
    assert find_wished("v2-1", served) == known_models()["v2-1"]


def test_a_path_that_is_there_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_wished(None, Settings(model_path=Path("triposg"))) == known_models()["triposg"]
    Path("triposg").mkdir()
    assert find_wished(None, Settings(model_path=Path("triposg"))) is None
