"""Options of a finish as a job keeps them, also those of a version without additions."""

from __future__ import annotations

import json
from dataclasses import asdict

from ai_engine.wishes.additions import Attach, Base, Hollow
from ai_engine.wishes.print_options import PrintOptions


def test_wishes_for_additions_go_through_json() -> None:
    one = PrintOptions(height_mm=40, base=Base("hex", text="Ada"), hollow=Hollow(), attach=Attach("magnet"))

    assert PrintOptions.from_dict(json.loads(json.dumps(asdict(one)))) == one


def test_options_of_a_version_without_additions_have_none() -> None:
    fields = asdict(PrintOptions(height_mm=40))
    for name in ("hollow", "base", "attach"):
        del fields[name]

    assert not PrintOptions.from_dict(fields).has_additions
