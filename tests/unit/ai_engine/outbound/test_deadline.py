from __future__ import annotations

import pytest

from ai_engine.outbound.deadline import Deadline, TransferFailed


def test_a_body_slower_than_the_minimum_rate_is_overdue_before_the_deadline() -> None:
    now = [0.0]
    deadline = Deadline(total_s=100.0, min_bytes_per_s=1000.0, clock=lambda: now[0])
    deadline.begin_body()
    deadline.count(2000)
    now[0] = 6.9
    assert deadline.remaining_s() == pytest.approx(0.1)
    now[0] = 7.1
    with pytest.raises(TransferFailed, match="less than 1000 bytes a second"):
        deadline.remaining_s()


def test_a_deadline_only_ever_comes_nearer() -> None:
    now = [0.0]
    deadline = Deadline(total_s=10.0, min_bytes_per_s=0.0, clock=lambda: now[0])

    deadline.shorten(4.0)
    deadline.shorten(8.0)

    assert deadline.remaining_s() == 4.0
    now[0] = 4.0
    with pytest.raises(TransferFailed, match="longer than 10 s") as caught:
        deadline.remaining_s()
    assert caught.value.is_retryable
