from __future__ import annotations

import pytest
from support.broken_meshes import cup

from ai_engine.errors import NotPrintable
from ai_engine.job import PrintOptions
from ai_engine.printing import prepare as print_ready
from ai_engine.printing.prepare import finish


def test_a_large_hole_that_is_not_flat_is_left_open_and_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(print_ready, "repair", lambda mesh: None)  # as where pymeshlab is not installed
    _, found = finish(cup())
    assert not found.is_closed
    assert found.is_manifold
    assert found.warnings[0].startswith("The surface is not closed")
    with pytest.raises(NotPrintable, match="not closed"):
        finish(cup(), PrintOptions(require_printable=True))
