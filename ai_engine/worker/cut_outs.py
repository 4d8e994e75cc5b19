"""Makes the cut-outs that are asked for before any job, in the lanes that jobs use. Knows no database."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from ai_engine.errors import GenerationTimeout, InternalError, JobError
from ai_engine.job import CutOut
from ai_engine.job_queue.on_demand import CutOutOutcome, CutOutTask
from ai_engine.logs import event
from ai_engine.pipeline.lanes import Claim
from ai_engine.pipeline.resources import Resources
from ai_engine.pipeline.stages.picture_stages import PictureStages
from ai_engine.stage import Stage
from ai_engine.stage_result import JobFailure, StageResult

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class BriefRun:
    """One execution that is not resumed: whoever asked waits for it, until `ends_at_s` (seconds since 1970)."""

    ends_at_s: float
    owner: str | None = None

    @property
    def claim(self) -> Claim:
        """Whose cut-out it is, for its turns in the lanes."""
        return Claim(self.owner)

    def aside(self) -> AbstractContextManager[None]:
        """Nothing: cut-outs have places of their own."""
        return nullcontext()

    def step(self, stage: Stage, work: Callable[[], StageResult]) -> StageResult:
        """What `work` gives back."""
        return work()

    def progress(self, stage: Stage, done: int, total: int) -> None:
        """Raises GenerationTimeout if the caller has stopped waiting."""
        self.waits()

    def waits(self) -> None:
        """Raises GenerationTimeout if the caller has stopped waiting."""
        if time.time() > self.ends_at_s:
            raise GenerationTimeout("The cut-out took too long.", stage=Stage.CUTOUT)


def make_cut_out(task: CutOutTask, resources: Resources) -> CutOutOutcome:
    """The cut-out that is asked for, or why there is none."""
    stages = PictureStages(task.source, resources, BriefRun(task.ends_at_s, task.owner))
    began_at = time.monotonic()
    try:
        made = stages.cut_out(stages.download())
    except JobError as error:
        event(logger, "no cut-out", cut_out_id=task.source.entry_id, code=error.code, detail=error.detail)
        return CutOutOutcome(failure=JobFailure.of(error))
    except Exception:
        logger.exception("cut-out broke", extra={"event_fields": {"cut_out_id": task.source.entry_id}})
        return CutOutOutcome(failure=JobFailure.of(InternalError()))
    seconds = round(time.monotonic() - began_at, 3)
    event(logger, "cut-out made", cut_out_id=task.source.entry_id, seconds=seconds)
    assert made.cutout is not None
    return CutOutOutcome(CutOut(made.artifact, made.cutout))
