"""Options check themselves once."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from hy3dgen.field.decode_options import COVER_FACTOR, POINTS_PER_CALL, DecodeOptions


def test_the_usual_search_is_strict_and_asks_the_published_number_of_points() -> None:
    assert (DecodeOptions().mode, DecodeOptions().max_points_per_call) == ("strict", POINTS_PER_CALL)


@pytest.mark.parametrize(
    "bad",
    [
        {"mode": "sloppy"},
        {"max_points_per_call": 0},
        {"cells_per_block": 0},
        {"memory_share": 0.0},
        {"memory_share": 1.1},
        {"max_active_share": 0.0},
    ],
)
def test_what_makes_no_sense_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must"):
        DecodeOptions(**bad)


def test_options_do_not_change_on_their_way() -> None:
    with pytest.raises(FrozenInstanceError):
        DecodeOptions().mode = "fast"  # type: ignore[misc]


def test_fast_begins_coarser_than_strict() -> None:
    assert COVER_FACTOR["fast"] < COVER_FACTOR["strict"]
