"""The denoiser, the time tables and the sampled latents equal the reference's."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from parity.parity_case import DEVICE, Case, Recorder, close, same
from parity.test_image import views

from hy3dgen.networks.stream_dit import DiT, time_features
from hy3dgen.sampling import consistency_times, flow_times


def watch_blocks(recorder: Recorder, dit: DiT) -> None:
    recorder.watch("dit.latent_in", dit.latent_in)
    recorder.watch("dit.cond_in", dit.context_in)
    recorder.watch("dit.vec", dit.time_in)
    for index, block in enumerate(dit.double_blocks):
        recorder.watch(f"dit.double_{index}", block)
    for index, block in enumerate(dit.single_blocks):
        recorder.watch(f"dit.single_{index}", block)


def test_the_velocity_agrees(case: Case) -> None:
    stages = case.stages
    velocity = case.pipeline.dit(
        stages["dit.x"], stages["dit.t"], stages["dit.context"], stages.get("dit.guidance")
    )
    assert close(velocity, stages["dit.velocity"])


@pytest.mark.parametrize("time", [0, 1])
def test_the_velocity_agrees_at_both_ends_of_time(plain: Case, time: int) -> None:
    latents, context = plain.stages["dit.x"][:1], plain.stages["cond.main"]
    velocity = plain.pipeline.dit(latents, torch.tensor([float(time)], device=DEVICE), context)
    assert close(velocity, plain.stages[f"dit.velocity_t{time}"])


def test_the_denoiser_agrees_block_by_block(plain: Case) -> None:
    recorder, stages = Recorder(), plain.stages
    watch_blocks(recorder, plain.pipeline.dit)
    plain.pipeline.dit(stages["dit.x"], stages["dit.t"], stages["dit.context"])
    for name, output in recorder.outputs.items():
        pair = {"latent": output[0], "cond": output[1]} if isinstance(output, tuple) else {"": output}
        for side, tensor in pair.items():
            assert close(tensor, stages[f"{name}.{side}" if side else name]), (name, side)


def test_time_and_guidance_features_agree(plain: Case, turbo: Case) -> None:
    assert close(time_features(plain.stages["dit.t"]), plain.stages["dit.timestep_embedding"])
    # Angles reach 5000, where float32 is spaced 4.9e-4 apart: the last bit of exp, which differs between processors,
    # moves an angle by one such step.
    spacing = float(np.spacing(np.float32(1000 * turbo.stages["dit.guidance"].max())))
    features = time_features(turbo.stages["dit.guidance"])
    assert close(features, turbo.stages["dit.guidance_embedding"], spacing)


def test_time_tables_are_exact(plain: Case) -> None:
    for num_steps in (1, 5, 12, 30, 50):
        assert same(flow_times(num_steps), plain.stages[f"sched.flow.sigmas_{num_steps}"])
        for entries in (50, 100):
            expected = plain.stages[f"sched.consistency_pcm{entries}.sigmas_{num_steps}"]
            assert same(consistency_times(num_steps, entries), expected)


def sampled(case: Case) -> list[str]:
    return [name for name in case.stages if name.startswith("sample.latents_")]


def test_sampled_latents_agree_for_every_schedule_and_guidance(case: Case) -> None:
    assert len(sampled(case)) >= 4
    for name in sampled(case):
        found = re.fullmatch(r"sample\.latents_([a-z]+)\d*_n(\d+)_g([\d.]+)", name)
        assert found is not None
        schedule, steps, guidance = found.groups()
        latents = case.pipeline(
            case.image,
            num_inference_steps=int(steps),
            guidance_scale=float(guidance),
            latents=case.stages["sample.noise"],
            schedule="consistency" if schedule == "consistency" else "flow",
        )
        assert close(latents, case.stages[name]), name


def test_multi_view_velocity_and_latents_agree(plain: Case) -> None:
    stages, pipeline = plain.stages, plain.pipeline
    latents = pipeline(views(), num_inference_steps=5, latents=stages["sample.noise"])
    assert close(latents, stages["mv.sample.latents_flow_n5_g5"])
