from __future__ import annotations

import signal

import pytest

from ai_engine.cli.interrupts import sigterm_interrupts


def test_sigterm_is_a_keyboard_interrupt_in_the_block_alone() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), sigterm_interrupts():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before
