"""One picture of a file, with nothing beside what its pixels need. Knows no decoder."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Still:
    """A file of one `frame_px` (width, height), which lies at `offset_px` (left, top) in a `canvas_px`.

    `is_cut_short`: the end of the file is missing, and was closed so that a decoder comes to its end.
    """

    data: bytes = field(repr=False)
    canvas_px: tuple[int, int]
    offset_px: tuple[int, int]
    frame_px: tuple[int, int]
    is_cut_short: bool = False

    @property
    def fills_canvas(self) -> bool:
        """True when the frame is the whole picture."""
        return self.frame_px == self.canvas_px
