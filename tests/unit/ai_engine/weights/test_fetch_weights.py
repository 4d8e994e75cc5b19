"""Fetching published weights, against a server that plays the hub: the real code, only the address is ours."""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants
from support.hub_server import Hub, hub_server

from ai_engine.images import background
from ai_engine.published_weights import (
    APACHE,
    FOLDERS,
    MATTING_MODELS,
    SHAPE_MODELS,
    HubOrigin,
    Weights,
    WeightsFolder,
    add_choices,
)
from ai_engine.weights import fetch_weights
from ai_engine.weights.fetch_weights import FetchFailed, fetch
from hy3dgen.families.variants import VARIANTS

REPOSITORY = Path(__file__).resolve().parents[4]
BODY = random.Random(4).randbytes(300_000)
SHA256 = hashlib.sha256(BODY).hexdigest()
ORIGIN = HubOrigin("owner/name", "a" * 40, "folder/model.safetensors")
HUB_PATH = f"owner/name/resolve/{'a' * 40}/folder/model.safetensors"
PINNED = Weights("made-up", ORIGIN.file, ORIGIN, APACHE, len(BODY), SHA256)
UNPINNED = replace(PINNED, size_bytes=None, sha256=None)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with hub_server({HUB_PATH: BODY, "release/matting.onnx": BODY}) as hub:
        template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        # Less than a chunk that came before a break is not kept.
        monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 10_000)
        monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda _: None)
        yield hub


def begun(models: Path, body: bytes) -> Path:
    """The part that an earlier run left, holding `body`."""
    part = models / "folder" / f"model.safetensors.{SHA256[:12]}.part"
    part.parent.mkdir()
    part.write_bytes(body)
    return part


def test_nothing_is_downloaded_that_the_territory_is_left_out_of(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--variant", "v2-0", "--matting", "none", "--accept-licence", "--territory", "de")
    assert command(tmp_path, *options) == fetch_weights.EXIT_NOT_ACCEPTED
    assert "Nothing was downloaded. TERRITORY=DE" in capsys.readouterr().out
    assert not hub.requests


@pytest.mark.parametrize("weights", [PINNED, UNPINNED], ids=["pinned sum", "sum told by the hub"])
def test_a_file_arrives_whole_under_its_own_name_alone(hub: Hub, tmp_path: Path, weights: Weights) -> None:
    path = fetch(weights, tmp_path)
    assert path.read_bytes() == BODY
    assert [file.name for file in path.parent.iterdir()] == ["model.safetensors"]


def test_the_pinned_revision_is_asked_for(hub: Hub, tmp_path: Path) -> None:
    fetch(PINNED, tmp_path)
    assert {path.removeprefix("/store") for _, path, _ in hub.requests} == {f"/{HUB_PATH}"}


def test_the_next_run_goes_on_where_the_last_one_stopped(hub: Hub, tmp_path: Path) -> None:
    begun(tmp_path, BODY[:120_000])
    fetch(PINNED, tmp_path)
    assert hub.ranges() == ["bytes=120000-"]
    assert (tmp_path / ORIGIN.file).read_bytes() == BODY


def test_a_break_within_a_run_is_waited_out(hub: Hub, tmp_path: Path) -> None:
    hub.break_after_bytes = 100_000
    assert fetch(PINNED, tmp_path).read_bytes() == BODY
    assert hub.ranges()[0] is None
    assert len(hub.ranges()) == 2


def test_what_came_before_the_line_died_is_kept_and_told(hub: Hub, tmp_path: Path) -> None:
    hub.break_after_bytes, hub.answers_left = 100_000, 1
    with pytest.raises(FetchFailed, match=r"100,000 bytes are kept"):
        fetch(PINNED, tmp_path)
    hub.answers_left = None
    assert fetch(PINNED, tmp_path).read_bytes() == BODY
    assert hub.ranges()[-1] == "bytes=100000-"


def test_a_file_the_hub_does_not_have_is_told_with_its_address(hub: Hub, tmp_path: Path) -> None:
    del hub.files[HUB_PATH]
    with pytest.raises(FetchFailed, match=HUB_PATH):
        fetch(PINNED, tmp_path)


def test_a_server_without_ranges_is_read_from_the_start(hub: Hub, tmp_path: Path) -> None:
    begun(tmp_path, BODY[:120_000])
    hub.ignores_ranges = True
    assert fetch(PINNED, tmp_path).read_bytes() == BODY


def test_a_part_longer_than_the_file_is_thrown_away(hub: Hub, tmp_path: Path) -> None:
    begun(tmp_path, BODY + b"more")
    assert fetch(PINNED, tmp_path).read_bytes() == BODY


def test_other_bytes_than_published_never_get_the_files_name(hub: Hub, tmp_path: Path) -> None:
    hub.told_sha256 = SHA256
    hub.files[HUB_PATH] = BODY[:-1] + bytes([BODY[-1] ^ 1])
    with pytest.raises(FetchFailed, match="sha256"):
        fetch(PINNED, tmp_path)
    assert list((tmp_path / "folder").iterdir()) == []


@pytest.mark.parametrize("change", [{"sha256": "0" * 64}, {"size_bytes": 7}])
def test_a_hub_that_has_another_file_is_found_out_before_the_download(
    hub: Hub, tmp_path: Path, change: dict[str, Any]
) -> None:
    with pytest.raises(FetchFailed, match="another file"):
        fetch(replace(PINNED, **change), tmp_path)
    assert hub.ranges() == []


def test_a_file_that_is_there_is_checked_and_not_fetched_again(hub: Hub, tmp_path: Path) -> None:
    fetch(PINNED, tmp_path)
    hub.requests.clear()
    fetch(PINNED, tmp_path)
    assert hub.requests == []


def test_a_damaged_file_that_is_there_is_named_and_left_alone(hub: Hub, tmp_path: Path) -> None:
    path = fetch(PINNED, tmp_path)
    path.write_bytes(b"junk")
    with pytest.raises(FetchFailed, match=r"has 4 bytes instead of 300,000"):
        fetch(PINNED, tmp_path)
    assert path.read_bytes() == b"junk"


def test_a_matting_model_comes_from_its_release(hub: Hub, tmp_path: Path) -> None:
    weights = replace(PINNED, origin=f"{hub.url}/store/release/matting.onnx")
    assert fetch(weights, tmp_path).read_bytes() == BODY


def test_a_token_is_shown_to_the_hub_and_not_to_its_store(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch_weights, "get_token", lambda: "hf_made_up")
    fetch(PINNED, tmp_path)
    asked_with = {
        path[:6]: headers.get("authorization") for verb, path, headers in hub.requests if verb == "GET"
    }
    assert asked_with == {"/owner": "Bearer hf_made_up", "/store": None}


def test_a_full_disk_is_told_before_the_download(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: argparse.Namespace(free=1000))
    with pytest.raises(FetchFailed, match="has room for"):
        fetch(PINNED, tmp_path)
    assert hub.ranges() == []


def test_offline_a_missing_file_is_told_with_its_address(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(FetchFailed, match=HUB_PATH):
        fetch(PINNED, tmp_path)
    assert hub.requests == []


@pytest.mark.parametrize("weights", [PINNED, UNPINNED])
def test_offline_a_file_that_is_there_is_checked_as_far_as_can_be(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weights: Weights
) -> None:
    path = fetch(PINNED, tmp_path)
    hub.requests.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert fetch(weights, tmp_path) == path
    assert hub.requests == []


def command(models: Path, *options: str) -> int:
    parser = argparse.ArgumentParser()
    add_choices(parser)
    return fetch_weights.run(parser.parse_args(["--models", str(models), *options]))


def test_without_consent_the_licence_is_shown_and_nothing_is_asked_of_the_network(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(tmp_path) == fetch_weights.EXIT_NOT_ACCEPTED
    shown = capsys.readouterr().out
    assert all(place in shown for place in ("European Union", "United Kingdom", "South Korea"))
    assert "Nothing was downloaded" in shown
    assert hub.requests == []


@pytest.fixture
def tiny_hub(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """A hub whose v2-0 is small."""
    shape = replace(SHAPE_MODELS["v2-0"], origin=ORIGIN, size_bytes=len(BODY), sha256=SHA256)
    monkeypatch.setattr(fetch_weights, "SHAPE_MODELS", {"v2-0": shape})
    return hub


def test_the_licence_is_shown_before_the_first_byte_and_the_settings_after_the_last(
    tiny_hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(tmp_path, "--matting", "none", "--accept-licence") == fetch_weights.EXIT_OK
    shown = capsys.readouterr().out
    begun, settings = shown.index("begins at 0 bytes"), shown.index("MODEL_PATH=")
    assert shown.index("South Korea") < begun < settings
    assert (tmp_path / "hunyuan3d-dit-v2-0" / "model.fp16.safetensors").read_bytes() == BODY


def test_licence_texts_are_fetched_where_the_repository_has_them(
    tiny_hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_hub.files[f"owner/name/resolve/{'a' * 40}/LICENSE"] = b"what binds"
    assert command(tmp_path, "--matting", "none", "--accept-licence") == fetch_weights.EXIT_OK
    assert (tmp_path / "hunyuan3d-dit-v2-0" / "LICENSE").read_bytes() == b"what binds"
    assert "NOTICE: the repository has no such file" in capsys.readouterr().out


def hub_with(hub: Hub, folder: WeightsFolder, monkeypatch: pytest.MonkeyPatch) -> WeightsFolder:
    """A hub that has a folder's files, each with its own address for contents; nothing is known of their sums."""
    small = replace(folder, files=tuple(replace(one, size_bytes=None, sha256=None) for one in folder.files))
    for weights in small.files:
        origin = weights.origin
        assert isinstance(origin, HubOrigin)
        hub.files[f"{origin.repo}/resolve/{origin.revision}/{origin.file}"] = origin.file.encode()
    monkeypatch.setattr(fetch_weights, "FOLDERS", {folder.name: small})
    return small


@pytest.mark.parametrize("name", FOLDERS)
def test_a_model_in_several_files_arrives_as_one_folder(
    hub: Hub,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    folder = hub_with(hub, FOLDERS[name], monkeypatch)
    options = ["--variant", name, "--matting", "none", "--accept-licence"]
    assert command(tmp_path, *options) == fetch_weights.EXIT_OK
    for weights in folder.files:
        assert isinstance(weights.origin, HubOrigin)
        assert (tmp_path / weights.path).read_bytes() == weights.origin.file.encode()
    assert capsys.readouterr().out.count(f"MODEL_PATH={(tmp_path / folder.path).as_posix()}\n") == 1


@pytest.mark.parametrize("name", ["triposg", "step1x-3d"])
def test_models_under_free_licences_need_no_consent(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    hub_with(hub, FOLDERS[name], monkeypatch)
    assert command(tmp_path, "--variant", name, "--matting", "none") == fetch_weights.EXIT_OK


def test_2_1_is_not_fetched_before_its_licence_was_accepted(hub: Hub, tmp_path: Path) -> None:
    assert command(tmp_path, "--variant", "v2-1", "--matting", "none") == fetch_weights.EXIT_NOT_ACCEPTED
    assert hub.requests == []


@pytest.mark.parametrize("name", FOLDERS)
def test_a_fetched_folder_has_the_names_that_its_family_reads(name: str) -> None:
    """The component folders are the prefixes of the published tensors, as the parity data list them."""
    data = {"v2-1": "hunyuan3d_21", "triposg": "triposg", "step1x-3d": "step1x_3d"}[name]
    tensors = json.loads((REPOSITORY / "tests/parity/data" / data / "keys_full.json").read_text())["tensors"]
    components = {one.partition(".")[0] for one in tensors} if name != "v2-1" else set()
    fetched = {Path(one.path).relative_to(FOLDERS[name].path) for one in FOLDERS[name].files}
    assert {file.parent.name for file in fetched if file.suffix == ".safetensors"} == components


class Terminal(io.StringIO):
    """A person who types these lines."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("typed", "status"),
    [
        ("yes\n", fetch_weights.EXIT_OK),
        ("no\n", fetch_weights.EXIT_NOT_ACCEPTED),
        ("\n", fetch_weights.EXIT_NOT_ACCEPTED),
        ("", fetch_weights.EXIT_NOT_ACCEPTED),
    ],
)
def test_at_a_terminal_consent_is_asked_for_after_the_licence(
    tiny_hub: Hub,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    typed: str,
    status: int,
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(typed))
    assert command(tmp_path, "--matting", "none") == status
    shown = capsys.readouterr().out
    assert shown.index("South Korea") < shown.index("Do you agree")
    assert bool(tiny_hub.requests) == (status == fetch_weights.EXIT_OK)


def test_a_failure_is_an_exit_status_and_a_sentence(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(tmp_path, "--accept-licence") == fetch_weights.EXIT_FAILED
    assert "FAILED: " in capsys.readouterr().out


def test_a_matting_model_under_a_free_licence_needs_no_consent(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin = f"{hub.url}/store/release/matting.onnx"
    model = replace(MATTING_MODELS["u2net"], origin=origin, size_bytes=len(BODY), sha256=SHA256)
    monkeypatch.setattr(fetch_weights, "MATTING_MODELS", {"u2net": model})
    assert command(tmp_path, "--variant", "none", "--matting", "u2net") == fetch_weights.EXIT_OK


def test_the_command_line_fetches_from_the_hub_that_the_environment_names(hub: Hub, tmp_path: Path) -> None:
    origin = SHAPE_MODELS["v2-0-fast"].origin
    assert isinstance(origin, HubOrigin)
    hub.files[f"{origin.repo}/resolve/{origin.revision}/{origin.file}"] = BODY
    environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path)}
    command = [sys.executable, "main.py", "fetch-weights", "--variant", "v2-0-fast", "--matting", "none"]
    options = ["--models", str(tmp_path / "models"), "--accept-licence"]
    done = subprocess.run(
        [*command, *options], env=environment, cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    path = tmp_path / "models" / "hunyuan3d-dit-v2-0-fast" / "model.fp16.safetensors"
    assert path.read_bytes() == BODY
    assert f"MODEL_PATH={path.as_posix()}" in done.stdout


def test_every_variant_the_model_code_knows_can_be_fetched() -> None:
    assert set(SHAPE_MODELS) == set(VARIANTS)


def test_matting_models_land_where_the_service_looks_for_them() -> None:
    for name, weights in MATTING_MODELS.items():
        assert Path(weights.path) == Path("matting") / background.MATTING_MODELS[name].file


def test_every_shape_model_is_pinned_to_a_commit() -> None:
    for weights in SHAPE_MODELS.values():
        assert isinstance(weights.origin, HubOrigin)
        assert len(weights.origin.revision) == 40
        assert weights.licence.must_accept


def test_sums_are_sums() -> None:
    for folder in FOLDERS.values():
        assert all(one.sha256 is None or len(bytes.fromhex(one.sha256)) == 32 for one in folder.files)
    for weights in (*SHAPE_MODELS.values(), *MATTING_MODELS.values()):
        assert (weights.sha256 is None) == (weights.size_bytes is None)
        assert weights.sha256 is None or len(bytes.fromhex(weights.sha256)) == 32
