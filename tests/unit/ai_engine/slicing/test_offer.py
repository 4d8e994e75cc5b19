"""What workers can slice with, together."""

from __future__ import annotations

from pathlib import Path

import pytest

from ai_engine.slicing.offer import Refusal, SlicerOffer, common_offer
from ai_engine.slicing.profiles import SHIPPED
from ai_engine.wishes.slicing import Slice

OFFER = SlicerOffer.of_folder(SHIPPED)


def with_printers(*names: str) -> SlicerOffer:
    return SlicerOffer(True, {**OFFER.profiles, "printer": names})


def test_the_shipped_profiles_are_offered_and_survive_the_registry() -> None:
    assert OFFER.refusal(Slice()) is None
    again = SlicerOffer.from_json(OFFER.to_json())
    assert again.refusal(Slice()) is None
    assert again.refusal(Slice("mk3")) == OFFER.refusal(Slice("mk3"))


@pytest.mark.parametrize(
    ("offers", "wish", "code"),
    [
        ([OFFER, OFFER], Slice(), None),
        ([OFFER, SlicerOffer()], Slice(), "slicer_missing"),
        ([with_printers("mk4", "ender-3"), with_printers("ender-3", "x1")], Slice(), None),
        ([with_printers("mk4", "ender-3"), with_printers("ender-3", "x1")], Slice("mk4"), "profile_unknown"),
        ([with_printers("ender-3"), with_printers("ender-3", "x1")], Slice("x1"), "profile_unknown"),
    ],
)
def test_workers_offer_what_each_of_them_has(
    offers: list[SlicerOffer], wish: Slice, code: str | None
) -> None:
    refusal = common_offer(offers).refusal(wish)
    assert (refusal and refusal.code) == code


def test_a_profile_is_refused_with_those_that_are_known(tmp_path: Path) -> None:
    (tmp_path / "printers").mkdir()
    (tmp_path / "printers" / "mk4.ini").touch()
    assert SlicerOffer.of_folder(tmp_path).refusal(Slice()) == Refusal(
        "slice.printer", "known are: mk4", "profile_unknown"
    )
