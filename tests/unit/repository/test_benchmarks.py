"""What is measured is what is claimed: both sides compute the same thing, at the published sizes."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path

import pytest
import torch
from parity.parity_case import DATA, Case, close, load_case
from safetensors.torch import load_file
from torch import Tensor

from benchmarks import today
from benchmarks.__main__ import DELEGATED, MODULES
from benchmarks.card import STEPS_IN_ORDER, table_of
from benchmarks.denoise import folded_flops, pair_flops
from benchmarks.gpu import PARTS, Part, deciding_table, run_parts
from benchmarks.measuring import Asked, Table, in_turns, ratio
from benchmarks.predictions import CARD_ESTIMATES, HEADER, PREDICTIONS, card_column
from benchmarks.published import EMBEDDED, config_of, networks_of, shapes_of, write_random_file
from hy3dgen.families.variants import VARIANTS
from hy3dgen.models import weights_of


@pytest.fixture(scope="module", params=[("checkpoint", "stages"), ("checkpoint_turbo", "stages_turbo")])
def case(request: pytest.FixtureRequest) -> Case:
    return load_case(*request.param)


@pytest.mark.parametrize("name", MODULES)
def test_every_section_has_tables_and_a_prediction(name: str) -> None:
    assert callable(import_module(f"benchmarks.{MODULES[name]}").tables)
    assert name in PREDICTIONS
    assert not set(PREDICTIONS) - set(MODULES) - set(DELEGATED)


def test_todays_latents_are_ours(case: Case) -> None:
    noise, steps = case.stages["sample.noise"], 5
    context = case.pipeline.encode(case.image)
    theirs = today.denoise(case.pipeline, context, noise, steps)
    ours = case.pipeline(case.image, num_inference_steps=steps, latents=noise)
    assert isinstance(ours, Tensor)
    assert close(theirs, ours)


def test_todays_surface_is_ours(case: Case) -> None:
    tokens = case.stages["vae.out"]
    vertices, faces = today.surface(today.dense_logits(case.vae.geometry, tokens, 24))
    (ours,) = case.vae.latents2mesh(tokens, octree_resolution=24)
    nearest = torch.cdist(torch.from_numpy(ours.vertices), torch.from_numpy(vertices.copy())).amin(dim=1)
    assert nearest.median() < 1e-5
    assert len(ours.faces) == pytest.approx(len(faces), rel=0.02)


@pytest.mark.parametrize("variant", VARIANTS)
def test_random_networks_have_the_published_shapes(variant: str) -> None:
    assert networks_of(variant).published_shapes() == shapes_of(variant)


def test_a_random_file_is_a_file_of_the_published_layout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {name: tuple(one.shape) for name, one in load_file(DATA / "checkpoint.safetensors").items()}
    monkeypatch.setattr("benchmarks.published.shapes_of", lambda variant: few)
    size = write_random_file(tmp_path / "few.safetensors", "v2-mini")
    assert weights_of(tmp_path / "few.safetensors", torch.float16).total == pytest.approx(size, rel=0.1)


def test_the_work_of_a_step_is_that_of_the_specification() -> None:
    # 279 CPU seconds at 68 GFLOP/s (reference-cost): within a tenth.
    assert pair_flops(config_of("v2-0")) == pytest.approx(279 * 68e9, rel=0.1)


def test_the_folded_side_costs_what_its_tokens_cost() -> None:
    # spec: 2.97 against 1.82 TFLOP a step of v2-mini, in the words of benchmarks.predictions
    config = config_of("v2-mini")
    assert pair_flops(config) == pytest.approx(2.97e12, rel=0.02)
    assert folded_flops(config, torch.float32) == pytest.approx(1.82e12, rel=0.05)
    distilled = config_of("v2-0-turbo")
    assert folded_flops(distilled, torch.float16) == pair_flops(distilled)


def test_tasks_take_turns_and_the_first_round_does_not_count() -> None:
    order: list[str] = []
    in_turns(Asked(torch.device("cpu")), lambda: order.append("a"), lambda: order.append("b"), rounds=2)
    assert order == ["a", "b"] * 3


def test_a_table_is_markdown() -> None:
    table = Table("Title", ("a", "b"), (("1", "2"),), "Note.")
    assert str(table) == "### Title\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\nNote.\n"
    assert (ratio(3.0, 2.0), ratio(30.0, 2.0)) == ("1.50x", "15.0x")


def small_part(name: str, program: str, limit_s: float = 60) -> Part:
    """A module of one line."""
    Path(f"{name}.py").write_text(program)
    return Part(name, (name,), limit_s)


@pytest.fixture
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("_in_folder")
def test_what_ended_is_kept_when_a_part_fails_or_hangs() -> None:
    parts = [
        small_part("good", "print('well')"),
        small_part("bad", "raise SystemExit('broken')"),
        small_part("hanging", "print('begun', flush=True); import signal; signal.pause()", limit_s=5),
    ]
    told = run_parts(parts, Path("gpu.json"), 300, "here")
    assert {name: one["status"] for name, one in told.items()} == {
        "good": "done",
        "bad": "failed",
        "hanging": "out of time",
    }
    assert [one["output"].strip() for one in told.values()] == ["well", "broken", "begun"]
    assert json.loads(Path("gpu.json").read_text()) == {"machine": "here", "parts": told}


@pytest.mark.usefixtures("_in_folder")
def test_the_next_call_goes_on_with_what_is_not_done_untried_parts_first() -> None:
    write = "open('order', 'a').write('{0} ')"
    parts = [small_part(name, write.format(name)) for name in ("done", "failed", "new")]
    before = {"done": {"status": "done", "seconds": 1}, "failed": {"status": "failed", "seconds": 1}}
    Path("gpu.json").write_text(json.dumps({"machine": "here", "parts": before}))
    told = run_parts(parts, Path("gpu.json"), 300, "here")
    assert Path("order").read_text() == "new failed "
    assert {one["status"] for one in told.values()} == {"done"}


@pytest.mark.usefixtures("_in_folder")
def test_no_part_begins_when_the_time_is_over() -> None:
    assert run_parts([small_part("late", "print()")], Path("gpu.json"), 1, "here") == {}


def test_every_part_of_the_gpu_run_names_what_exists() -> None:
    for part in PARTS:
        program, first, *_ = part.module
        paths = [Path(one) for one in part.module if one.startswith("tests/")]
        assert all(path.exists() for path in paths)
        assert program == "pytest" or first in (STEPS_IN_ORDER if program == "benchmarks.card" else MODULES)


def test_the_gpu_run_goes_through_the_first_hour_in_its_order_and_ends_in_one_table() -> None:
    numbers = [part.name.split()[0] for part in PARTS if part.name[0].isdigit()]
    assert numbers == sorted(numbers)
    assert set(numbers) == {"1", "2", "3", "4", "5", "6", "7"}
    deciding = {"header": HEADER, "rows": [["3 H2", "allocated", "4.93", "4.93"]]}
    other = {"header": ["a"], "rows": [["1"]]}
    told = {"one": {"sections": [{"tables": [other, deciding]}]}, "two": {"sections": []}}
    table = deciding_table(told)
    assert table.rows[0] == ("3 H2", "allocated", "4.93", "4.93")
    assert len(table.rows) == 1 + len(CARD_ESTIMATES)


@pytest.mark.parametrize(
    ("machine", "card"),
    [("NVIDIA GeForce RTX 4090, 24 GiB", "4090"), ("NVIDIA B200", "H100"), ("Tesla T4", "T4")],
)
def test_estimates_are_of_the_card_that_is_there(machine: str, card: str) -> None:
    assert card_column(machine) == card


def test_a_step_of_the_first_hour_runs_without_a_card() -> None:
    table = table_of("bytes", Asked(torch.device("cpu")), EMBEDDED)
    ((step, _, reckoned, found),) = table.rows
    assert (step, found) == ("3 H2", reckoned)
