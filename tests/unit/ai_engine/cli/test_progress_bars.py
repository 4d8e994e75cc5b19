from __future__ import annotations

import io

from ai_engine.cli.progress_bars import StageBars


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def test_each_stage_gets_one_line_where_the_output_is_no_terminal() -> None:
    stream = io.StringIO()
    bars = StageBars(stream, clock=iter([0.0, 1.5, 2.0, 4.25]).__next__)
    for done in range(3):
        bars.show("denoise", done, 2)
    bars.show("finish", 0, 1)
    bars.close()
    lines = stream.getvalue().splitlines()
    assert [line.split()[0] for line in lines] == ["denoise", "finish"]
    assert lines[0].endswith("2/2    1.5 s")
    assert lines[1].endswith("2.2 s")


def test_on_a_terminal_the_bar_grows_in_its_line() -> None:
    stream = Terminal()
    bars = StageBars(stream, clock=lambda: 0.0)
    bars.show("denoise", 1, 4)
    bars.show("denoise", 2, 4)
    frames = stream.getvalue().split("\r")
    assert frames[1].count("█") < frames[2].count("█")
    assert "\n" not in stream.getvalue()
