"""How networks are run is one frozen value, plain unless it says otherwise."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest
import torch
from torch import nn

from hy3dgen.errors import NotFinite
from hy3dgen.runtime.execution import Execution, check_finite, no_offload, once_done


def test_the_usual_way_is_plain_and_its_weights_are_where_they_are_used() -> None:
    plain = Execution()
    assert (plain.denoise, plain.query, plain.attention, plain.load) == (None, None, None, no_offload)
    layer = nn.Linear(2, 2)
    before = layer.weight.clone()
    plain.load(layer)
    assert layer.weight.equal(before)


def test_it_does_not_change_under_a_job() -> None:
    with pytest.raises(FrozenInstanceError):
        Execution().attention = None  # type: ignore[misc]


def test_a_gpu_is_given_the_next_step_before_the_one_before_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    order: list[str] = []

    class Event:
        count = 0

        def __init__(self) -> None:
            Event.count += 1
            self.step = Event.count

        def record(self, stream: object) -> None:
            order.append(f"given {self.step}")

        def synchronize(self) -> None:
            order.append(f"waited {self.step}")

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: None)
    on_step = once_done(lambda done, total: order.append(f"reported {done}"), torch.device("cuda"))
    for done in (1, 2, 3):
        on_step(done, 3)

    assert order[:3] == ["given 1", "given 2", "waited 1"]
    assert order[3:] == ["reported 1", "given 3", "waited 2", "reported 2", "waited 3", "reported 3"]


def test_a_cpu_reports_each_step_at_once() -> None:
    seen: list[int] = []
    on_step = once_done(lambda done, total: seen.append(done), torch.device("cpu"))
    on_step(1, 3)
    assert seen == [1]


@pytest.mark.parametrize("bad", [float("inf"), float("nan")])
@pytest.mark.parametrize(
    ("dtype", "advice"), [(torch.float16, "DTYPE=bfloat16"), (torch.float32, "in float32$")]
)
def test_a_number_that_is_none_is_named_with_its_network_and_what_may_help(
    bad: float, dtype: torch.dtype, advice: str
) -> None:
    numbers = torch.zeros(3, 4, dtype=dtype)
    assert check_finite(numbers, "the denoiser") is numbers
    numbers[1, 2] = bad
    with pytest.raises(NotFinite, match=f"the denoiser .* not finite .*{advice}"):
        check_finite(numbers, "the denoiser")


def test_calls_of_the_field_have_the_prepared_size_where_no_fewer_points_are_wished() -> None:
    assert Execution().bounded_points(20_000) == 20_000
    prepared = Execution(points_per_call=8000)
    assert [prepared.bounded_points(wished) for wished in (20_000, 8000, 4000)] == [8000, 8000, 4000]
