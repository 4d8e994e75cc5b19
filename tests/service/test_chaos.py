"""The short form of `make chaos`: a few kills of each kind, and nothing may be lost."""

from __future__ import annotations

import pytest

from service.chaos import MUST_BE_ZERO, Plan, run_plan, shown

PLANS = [
    Plan("sqlite", 1, kills=3, seed=5, longest_pause_s=4.0),
    Plan("postgres", 3, kills=3, seed=6, longest_pause_s=4.0),
]


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.database)
def test_a_little_chaos_loses_nothing(plan: Plan) -> None:
    table = run_plan(plan)

    assert {row: table[row] for row in MUST_BE_ZERO} == dict.fromkeys(MUST_BE_ZERO, 0), shown({"": table})
    assert table["jobs succeeded"] > 0
