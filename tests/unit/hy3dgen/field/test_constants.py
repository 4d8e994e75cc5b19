"""Tables are copied to a device once."""

from __future__ import annotations

import torch
from support.pretended_gpu import OnGpu, Traffic, pretended_gpu

from hy3dgen.field.constants import constant


def test_a_table_has_the_numbers_of_its_tuple() -> None:
    found = constant(((1, 2), (3, 4)), torch.int64, torch.device("cpu"))
    assert found.tolist() == [[1, 2], [3, 4]]


def test_a_table_is_copied_to_a_device_once() -> None:
    traffic = Traffic()
    with pretended_gpu(traffic) as gpu:
        once, again = (constant((0.125, 97.5), torch.float32, gpu) for _ in range(2))
    assert once is again
    assert isinstance(once, OnGpu)
    assert traffic.num_copies == 1
