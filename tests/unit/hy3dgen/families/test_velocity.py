"""What no step changes is made once, and the guidance pair costs less, for the same velocity."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Literal

import pytest
import torch
from parity.family_case import NAMES, overrides_of
from parity.parity_case import DATA, Case, close, load_case
from PIL import Image
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from hy3dgen.families.velocity import SamplingOptions, velocity_for
from hy3dgen.models import open_model
from hy3dgen.networks.layers import attend
from hy3dgen.sampling import Velocity, euler, flow_times, guide

SCALE = 5.0


@pytest.fixture(scope="module")
def plain() -> Case:
    return load_case("checkpoint", "stages")


@pytest.fixture(scope="module")
def distilled() -> Case:
    return load_case("checkpoint_turbo", "stages_turbo")


class Kernels(TorchDispatchMode):
    """Counts the operations that compute: on a GPU each is a kernel or more, and views are none."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += not func.is_view
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("name", "most"), [("checkpoint", 235), ("hunyuan3d_21", 463), ("triposg", 284), ("step1x_3d", 210)]
)
def test_an_evaluation_takes_no_more_kernels_than_it_did(name: str, most: int) -> None:
    if name == "checkpoint":
        path, overrides = (
            DATA / f"{name}.safetensors",
            json.loads((DATA / "overrides.json").read_text())[name],
        )
    else:
        path, overrides = DATA / name / NAMES[name].checkpoint, overrides_of(name)
    model = open_model(path, device="cpu", dtype=torch.float32, overrides=overrides)
    noise = model.noise(torch.Generator().manual_seed(0))
    context = model.encode(Image.open(DATA / "image.png"))
    model.velocity(noise, 0.5, context)

    with Kernels() as kernels:
        model.velocity(noise, 0.5, context)

    assert most // 2 < kernels.count <= most


class Spy:
    """Counts the calls of a network, those with a folded context apart."""

    def __init__(self, network: Callable[..., Tensor]) -> None:
        self.network, self.num_calls, self.num_folded = network, 0, 0

    def __call__(self, latents: Tensor, context: Tensor, rows: Tensor, multiplicity: int) -> Tensor:
        self.num_calls += 1
        self.num_folded += multiplicity > 1
        return self.network(latents, context, rows, multiplicity)


def plain_way(case: Case) -> Velocity:
    """The slow twin: nothing is prepared, the pair is one batch, every context token is carried."""
    context = case.stages["cond.main"]
    pair = torch.cat([context, torch.zeros_like(context)])

    def velocity(latents: Tensor, time: float) -> Tensor:
        both = case.pipeline.dit(latents.repeat(2, 1, 1), torch.full((2,), time), pair)
        with_picture, without = both.chunk(2)
        return guide(with_picture, without, SCALE)

    return velocity


def latents_of(case: Case, options: SamplingOptions, network: Spy | None = None, steps: int = 9) -> Tensor:
    times, dit = flow_times(steps), case.pipeline.dit
    velocity = velocity_for(dit, case.stages["cond.main"], times, SCALE, options, network)
    return euler(case.stages["sample.noise"], times, velocity)


@pytest.mark.parametrize("pairing", ["folded", "batched"])
def test_the_prepared_velocity_is_that_of_the_plain_way(
    plain: Case, pairing: Literal["folded", "batched"]
) -> None:
    expected = euler(plain.stages["sample.noise"], flow_times(9), plain_way(plain))
    assert close(latents_of(plain, SamplingOptions(pairing)), expected, 2e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_key_that_counts_for_many_attends_like_many(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(3)
    query, key, value = torch.randn(3, 1, 2, 7, 8, generator=generator).to(dtype)
    key_of_all, value_of_all = (
        torch.cat([heads[:, :, :1].repeat(1, 1, 40, 1), heads[:, :, 1:]], dim=2) for heads in (key, value)
    )
    folded = attend(query, key, value, first_key_counts=40)
    assert close(folded, attend(query, key_of_all, value_of_all), 1e-5 if dtype == torch.float32 else 1e-2)


def test_times_and_context_are_embedded_once_a_job(plain: Case) -> None:
    calls: list[str] = []
    dit = plain.pipeline.dit
    hooks = [
        module.register_forward_hook(lambda *_, name=name: calls.append(name))
        for name, module in (("time", dit.time_in), ("context", dit.context_in))
    ]
    latents_of(plain, SamplingOptions())
    for hook in hooks:
        hook.remove()
    assert sorted(calls) == ["context", "context", "time"]


def test_the_side_without_a_picture_carries_one_context_token(plain: Case) -> None:
    spy = Spy(plain.pipeline.dit.velocity)
    latents_of(plain, SamplingOptions(), spy)
    assert (spy.num_calls, spy.num_folded) == (16, 8)


def test_guidance_is_asked_only_between_the_named_times(plain: Case) -> None:
    spy = Spy(plain.pipeline.dit.velocity)
    latents_of(plain, SamplingOptions(guidance_between=(0.3, 0.7)), spy)
    assert (spy.num_calls, spy.num_folded) == (8 + 3, 3)


def test_guidance_may_be_asked_at_every_other_step_only(plain: Case) -> None:
    spy = Spy(plain.pipeline.dit.velocity)
    sparing = latents_of(plain, SamplingOptions(guidance_every=2), spy)
    assert (spy.num_calls, spy.num_folded) == (8 + 4, 4)
    assert not close(sparing, latents_of(plain, SamplingOptions()))


def test_guidance_between_no_times_is_no_guidance(plain: Case) -> None:
    times, context = flow_times(5), plain.stages["cond.main"]
    options = SamplingOptions(guidance_between=(2.0, 3.0))
    velocities = (velocity_for(plain.pipeline.dit, context, times, scale, options) for scale in (SCALE, -1.0))
    none, off = (euler(plain.stages["sample.noise"], times, velocity) for velocity in velocities)
    assert torch.equal(none, off)


def test_a_checkpoint_that_takes_guidance_as_input_is_asked_once_a_step(distilled: Case) -> None:
    spy = Spy(distilled.pipeline.dit.velocity)
    latents_of(distilled, SamplingOptions(), spy, steps=5)
    assert (spy.num_calls, spy.num_folded) == (4, 0)


@pytest.mark.parametrize("wrong", [{"guidance_between": (1.0, 0.0)}, {"guidance_every": 0}])
def test_options_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="guidance_between"):
        SamplingOptions(**wrong)  # type: ignore[arg-type]
