from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from ai_engine.api.request_schema import JobRequest
from ai_engine.cli.endings import code_of, run_interruptibly, sentence, signals_interrupt
from ai_engine.engine.generated import GenerationFailed, ServerRefused
from ai_engine.errors import MeshUnreadable, NoForeground
from ai_engine.stage_result import JobFailure


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_a_keyboard_interrupt_in_the_block_alone(number: signal.Signals) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    handlers = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    try:
        with pytest.raises(KeyboardInterrupt), signals_interrupt():
            signal.raise_signal(number)
        assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == handlers
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_is_one_word_and_a_status_of_its_own(
    number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    def work() -> int:
        signal.raise_signal(number)
        return 0

    assert run_interruptibly(work) == 130
    assert capsys.readouterr().err == "interrupted\n"
    assert run_interruptibly(lambda: 3) == 3


def test_a_reader_that_goes_away_ends_a_command_without_a_trace(tmp_path: Path) -> None:
    code = (
        "import sys; from ai_engine.cli.endings import run_interruptibly\n"
        "def work():\n    while True: print('x' * 10000)\n"
        "sys.exit(run_interruptibly(work))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.read(1)
        process.stdout.close()
        assert process.wait(60) == 141
        assert process.stderr is not None
        assert process.stderr.read() == b""


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (
            GenerationFailed(JobFailure.of(NoForeground("Nothing."))),
            "no_foreground",
            "Nothing. (no_foreground)",
        ),
        (MeshUnreadable("no mesh"), "mesh_invalid", "no mesh"),
        (ServerRefused("It is full."), "failed", "It is full."),
        (FileNotFoundError(2, "No such file", "a.png"), "failed", "a.png: No such file"),
        (RuntimeError("a bug"), "internal", "RuntimeError: a bug"),
    ],
)
def test_what_went_wrong_is_one_line_and_a_code(error: Exception, code: str, text: str) -> None:
    assert (code_of(error), sentence(error)) == (code, text)
    assert sentence(error, about="a.png") == text.removeprefix("a.png: ")


def test_fields_are_named_by_their_flags_and_the_place_in_their_json() -> None:
    with pytest.raises(ValidationError) as caught:
        JobRequest.model_validate(
            {"session_id": "s", "asset_id": "a", "height_mm": -1, "base": {"height_mm": -3}, "mask_url": ""}
        )
    said = sentence(caught.value)
    assert "--height-mm: Input should be" in said
    assert "--base.height_mm: Input should be" in said
    assert "--mask: String should" in said
