"""How a cut-out that could not be made is refused."""

from __future__ import annotations

import pytest

from ai_engine.api.cut_out_routes import _refusal
from ai_engine.errors import (
    DownloadError,
    GenerationTimeout,
    InternalError,
    InvalidField,
    JobError,
    MaskUnusable,
    NoForeground,
    NotReady,
)
from ai_engine.job import Artifact, PictureSource
from ai_engine.stage_result import JobFailure

FILE = Artifact("x/picture", "0" * 64, 5)
BY_URL = PictureSource("0" * 32, "https://a.example/a", None, "https://a.example/m", None, None, "auto")
BY_FILE = PictureSource("0" * 32, None, FILE, None, FILE, None, "auto")


@pytest.mark.parametrize(
    ("error", "source", "field"),
    [
        (NoForeground("nothing"), BY_URL, "image_url"),
        (NoForeground("nothing"), BY_FILE, "image"),
        (MaskUnusable("another shape"), BY_URL, "mask_url"),
        (MaskUnusable("another shape"), BY_FILE, "mask"),
        (DownloadError("The mask could not be downloaded: 404."), BY_URL, "mask_url"),
    ],
)
def test_what_the_caller_sent_is_refused_by_its_field_and_the_code_of_a_job(
    error: JobError, source: PictureSource, field: str
) -> None:
    refusal = _refusal(JobFailure.of(error), source)

    assert isinstance(refusal, InvalidField)
    assert (refusal.field, refusal.field_code, refusal.detail) == (field, error.code, error.detail)


def test_what_is_our_own_is_not_the_callers_fault() -> None:
    late = _refusal(JobFailure.of(GenerationTimeout("too long")), BY_URL)
    broken = _refusal(JobFailure.of(InternalError("broke")), BY_URL)

    assert isinstance(late, NotReady)
    assert late.retry_after_s is not None
    assert (broken.status, broken.code) == (500, "internal")
