"""Fixtures: the two parity checkpoints, and no gradients."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from parity.parity_case import Case, load_case

# On a GPU: products in float32 as the reference had them, not in the fewer bits that tensor cores take for it.
torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False


@pytest.fixture(scope="session")
def plain() -> Case:
    return load_case("checkpoint", "stages")


@pytest.fixture(scope="session")
def turbo() -> Case:
    return load_case("checkpoint_turbo", "stages_turbo")


@pytest.fixture(scope="session", params=["plain", "turbo"])
def case(request: pytest.FixtureRequest) -> Case:
    return request.getfixturevalue(request.param)


@pytest.fixture(autouse=True)
def _without_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield
