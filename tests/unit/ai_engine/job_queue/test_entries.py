"""Ids of entries and the words of their status."""

from __future__ import annotations

import pytest
from dbos import WorkflowStatusString

from ai_engine.job_queue.entries import ACTIVE, BROKEN, EngineStatus, EntryId


@pytest.mark.parametrize(
    ("text", "entry"),
    [
        ("0123abcd", EntryId("0123abcd")),
        ("0123abcd:deliver:1", EntryId("0123abcd", 1)),
        ("0123abcd:deliver:20", EntryId("0123abcd", 20)),
        ("0123abcd:preview", EntryId("0123abcd", is_preview=True)),
    ],
)
def test_an_id_is_read_as_it_was_written(text: str, entry: EntryId) -> None:
    assert EntryId.parse(text) == entry
    assert str(entry) == text
    assert entry.is_job == (text == entry.job_id)


def test_every_status_of_the_engine_has_a_name_here() -> None:
    assert {status.value for status in EngineStatus} == {status.value for status in WorkflowStatusString}


def test_a_status_is_active_or_broken_or_an_end() -> None:
    assert set(EngineStatus) - ACTIVE - BROKEN == {EngineStatus.SUCCESS, EngineStatus.CANCELLED}
