from __future__ import annotations

from ai_engine.worker.running_jobs import AtWork


def test_an_entry_is_a_stray_when_nobody_worked_on_it_for_long_whenever_it_was_looked_at() -> None:
    now = 0.0
    at_work = AtWork(clock=lambda: now)
    with at_work.running("busy"):
        assert at_work.strays(["busy", "lost"], patience_s=10) == []
        now = 9.0
        assert at_work.strays(["busy", "lost"], patience_s=10) == []
        now = 10.0
        assert at_work.strays(["busy", "lost"], patience_s=10) == ["lost"]


def test_patience_begins_anew_when_an_entry_was_at_work_or_gone_in_between() -> None:
    now = 0.0
    at_work = AtWork(clock=lambda: now)
    at_work.strays(["a", "b"], patience_s=10)
    now = 8.0
    with at_work.running("a"):
        at_work.strays(["a"], patience_s=10)
    now = 12.0

    assert at_work.strays(["a", "b"], patience_s=10) == []
