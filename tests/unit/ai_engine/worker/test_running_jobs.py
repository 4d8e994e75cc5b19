from __future__ import annotations

from ai_engine.worker.running_jobs import RunningJobs


def test_an_entry_is_a_stray_when_nobody_worked_on_it_for_long_whenever_it_was_looked_at() -> None:
    now = 0.0
    running_jobs = RunningJobs(clock=lambda: now)
    with running_jobs.running("busy"):
        assert running_jobs.strays(["busy", "lost"], patience_s=10) == []
        now = 9.0
        assert running_jobs.strays(["busy", "lost"], patience_s=10) == []
        now = 10.0
        assert running_jobs.strays(["busy", "lost"], patience_s=10) == ["lost"]


def test_patience_begins_anew_when_an_entry_was_at_work_or_gone_in_between() -> None:
    now = 0.0
    running_jobs = RunningJobs(clock=lambda: now)
    running_jobs.strays(["a", "b"], patience_s=10)
    now = 8.0
    with running_jobs.running("a"):
        running_jobs.strays(["a"], patience_s=10)
    now = 12.0

    assert running_jobs.strays(["a", "b"], patience_s=10) == []
