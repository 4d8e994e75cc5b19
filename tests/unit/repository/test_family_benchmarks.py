"""The benchmark of the families measures networks of the published sizes, and both its ways give the same velocity."""

from __future__ import annotations

import pytest
import torch
from parity.family_case import NAMES, overrides_of
from parity.parity_case import DATA, close

from benchmarks import families
from benchmarks.families import FAMILIES, MeasuredFamily, built
from benchmarks.measuring import Asked
from benchmarks.published import filled
from hy3dgen.families.family import Built
from hy3dgen.weights.published_files import open_published

CPU = Asked(torch.device("cpu"))


def small(name: str) -> Built:
    """A family's networks at the size of its parity fixture."""
    with open_published(DATA / name / NAMES[name].checkpoint, torch.device("cpu")) as files:
        return FAMILIES[name].build(files, overrides_of(name))


@pytest.mark.parametrize("name", FAMILIES)
def test_what_is_measured_has_the_published_number_of_parameters(name: str) -> None:
    shapes = built(name).published_shapes().values()
    assert sum(torch.Size(shape).numel() for shape in shapes) == built(name).model.card.num_parameters


@pytest.mark.parametrize("name", FAMILIES)
@torch.no_grad()
def test_a_step_s_velocity_is_that_of_theplain_pair(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(families, "built", small)
    measured = MeasuredFamily(name, CPU)
    filled(measured.model.dit, CPU.device, torch.float32)
    times = measured.model.times(5)
    ours, now = measured.guided_velocity(times), float(times[2])
    assert close(ours(measured.latents, now), measured.plain_pair(now))


@pytest.mark.parametrize("name", FAMILIES)
@torch.no_grad()
def test_a_table_has_both_ways_and_tells_of_memory_and_points(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(families, "built", small)
    table = MeasuredFamily(name, CPU).table()
    assert [row[0] for row in table.rows] == ["plain guidance pair", "ours"]
    assert "points a second" in table.notes
    assert "Peak while denoising" in table.notes
