from __future__ import annotations

from support.solid_shapes import sphere

from ai_engine.printing.preview import preview_png


def test_a_preview_is_a_small_png_of_two_views_and_the_same_every_time() -> None:
    png = preview_png(sphere(16), side_px=64)
    assert png.startswith(b"\x89PNG")
    assert (int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")) == (128, 64)
    assert len(png) < 20_000
    assert png == preview_png(sphere(16), side_px=64)
