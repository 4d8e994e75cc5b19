"""Cut-outs before any job, made without a job engine: real files, a real store."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from service.house import cut_out_png
from unit.ai_engine.pipeline.test_pipeline import resources

from ai_engine.facts import CutOutFacts
from ai_engine.images.cutout import Cutout
from ai_engine.job import PictureSource
from ai_engine.job_queue.on_demand import CutOutTask
from ai_engine.pipeline.resources import Resources
from ai_engine.worker.cut_outs import make_cut_out

ID = "0" * 32


@pytest.fixture
def workshop(tmp_path: Path) -> Resources:
    return resources(tmp_path)


def task(workshop: Resources, picture: bytes, *, waits_s: float = 60.0) -> CutOutTask:
    image = workshop.store.put_bytes(ID, "picture", picture)
    source = PictureSource(ID, None, image, None, None, None, "auto")
    now = time.time()
    return CutOutTask(source, None, now, now + waits_s)


def test_the_cutout_lies_in_the_store_with_its_facts(workshop: Resources) -> None:
    made = make_cut_out(task(workshop, cut_out_png()), workshop).cut_out

    assert made is not None
    assert made.facts == CutOutFacts("alpha", 0.25, (), 0, ("small",))
    file = workshop.store.path(made.artifact)
    assert Cutout.from_png(file.read_bytes()).foreground_share == 0.25


@pytest.mark.parametrize(
    ("picture", "waits_s", "code"),
    [(b"no picture", 60.0, "image_invalid"), (cut_out_png(), -1.0, "generation_timeout")],
)
def test_what_fails_is_told_by_the_code_of_a_job(
    workshop: Resources, picture: bytes, waits_s: float, code: str
) -> None:
    outcome = make_cut_out(task(workshop, picture, waits_s=waits_s), workshop)

    assert outcome.failure is not None
    assert (outcome.cut_out, outcome.failure.code) == (None, code)


def test_a_bug_of_ours_is_internal(workshop: Resources) -> None:
    asked = task(workshop, cut_out_png())
    workshop.store.remove(ID)

    failure = make_cut_out(asked, workshop).failure

    assert failure is not None
    assert failure.code == "internal"
