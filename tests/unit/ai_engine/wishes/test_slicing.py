from __future__ import annotations

import json
from dataclasses import asdict

import pytest
from pydantic import TypeAdapter, ValidationError

from ai_engine.wishes.print_options import PrintOptions
from ai_engine.wishes.slicing import Slice


def test_an_empty_wish_has_the_defaults_and_goes_through_json() -> None:
    wish = TypeAdapter(Slice).validate_python({})
    options = PrintOptions(height_mm=40, slice=wish)

    assert (wish.printer, wish.filament, wish.print_settings) == ("ender-3", "pla", "standard")
    assert PrintOptions.from_dict(json.loads(json.dumps(asdict(options)))) == options
    assert not options.has_additions


def test_a_field_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Slice).validate_python({"nozzle": 0.4})
