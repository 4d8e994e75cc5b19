"""A worker's process sees its own card alone."""

from __future__ import annotations

import os

import pytest

from ai_engine.settings import Settings
from ai_engine.worker.process import see_own_card


@pytest.mark.parametrize(
    ("device", "visible", "own", "sees"),
    [
        ("cuda:1", None, "cuda:0", "1"),
        ("cuda:0", None, "cuda:0", "0"),
        ("cuda:1", "3,2", "cuda:0", "2"),
        ("cuda:1", "GPU-8932f937,GPU-a0c1", "cuda:0", "GPU-a0c1"),
        ("cuda:2", "3,2", "cuda:2", "3,2"),
        ("cuda", None, "cuda", None),
        ("cpu", None, "cpu", None),
        ("auto", "1", "auto", "1"),
    ],
)
def test_a_worker_sees_its_own_card_alone_as_the_first(
    device: str, visible: str | None, own: str, sees: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible or "")
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert see_own_card(Settings(device=device)).device == own
    assert os.environ.get("CUDA_VISIBLE_DEVICES") == sees
