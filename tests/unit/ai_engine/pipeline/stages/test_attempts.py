from __future__ import annotations

import pytest
from unit.ai_engine.pipeline.test_pipeline import PlainRun

from ai_engine.errors import DownloadError, JobError, MeshDownloadFailed, MeshTooLarge
from ai_engine.pipeline.stages.attempts import with_retries


@pytest.mark.parametrize(
    ("errors", "num_attempts", "ends_well"),
    [
        ([DownloadError(), MeshDownloadFailed()], 3, True),
        ([DownloadError(), DownloadError()], 2, False),
        ([DownloadError(retryable=False)], 3, False),
        ([MeshTooLarge()], 3, False),
    ],
)
def test_a_failure_is_tried_again_while_it_may_pass(
    monkeypatch: pytest.MonkeyPatch, errors: list[JobError], num_attempts: int, ends_well: bool
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    left = list(errors)

    def fetch() -> str:
        if left:
            raise left.pop(0)
        return "bytes"

    if ends_well:
        assert with_retries(fetch, PlainRun(), "j", attempts=num_attempts) == "bytes"
    else:
        with pytest.raises(type(errors[-1])):
            with_retries(fetch, PlainRun(), "j", attempts=num_attempts)
    assert left == []
