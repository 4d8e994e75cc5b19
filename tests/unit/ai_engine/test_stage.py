from __future__ import annotations

from itertools import pairwise

import pytest

from ai_engine.stage import Stage, overall_progress

WORK = [Stage.DOWNLOAD, Stage.CUTOUT, Stage.DENOISE, Stage.DECODE, Stage.FINISH]


def test_a_stage_begins_where_the_one_before_ends() -> None:
    assert overall_progress(WORK[0], 0, 1) == 0.0
    for before, after in pairwise(WORK):
        assert overall_progress(before, 1, 1) == overall_progress(after, 0, 1)
    assert overall_progress(WORK[-1], 1, 1) == 1.0


def test_progress_grows_within_a_stage_and_never_beyond_it() -> None:
    shares = [overall_progress(Stage.DENOISE, done, 30) for done in range(40)]
    assert shares == sorted(shares)
    assert shares[-1] == overall_progress(Stage.DECODE, 0, 1)


@pytest.mark.parametrize("stage", Stage)
def test_a_stage_of_no_known_length_has_just_begun(stage: Stage) -> None:
    assert overall_progress(stage, 0, 0) == overall_progress(stage, 0, 5)


def test_a_job_that_waits_is_at_nothing() -> None:
    assert overall_progress(Stage.QUEUE, 3, 4) == 0.0
