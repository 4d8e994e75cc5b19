"""The grouped experts equal the plain rule, and a context of zeros equals no context."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hy3dgen.networks.skip_dit import Experts, SkipDiT, SkipDiTConfig

CONFIG = SkipDiTConfig(
    width=16,
    latent_channels=4,
    context_width=8,
    num_blocks=5,
    num_heads=2,
    mlp_hidden=32,
    norm_eps=1e-6,
    num_expert_blocks=2,
    num_experts=6,
    experts_per_token=2,
)


def each_token_on_its_own(experts: Experts, tokens: Tensor) -> Tensor:
    """The slow, readable twin: the rule for one token, for each."""
    answers = []
    for token in tokens.flatten(0, 1):
        shares = experts.gate(token).softmax(dim=-1)
        best = sorted(range(len(shares)), key=lambda number: -shares[number].item())[: experts.num_chosen]
        routed = sum(shares[number] * experts.experts[number](token) for number in best)
        answers.append(routed + experts.shared(token))
    return torch.stack(answers).view_as(tokens)


@pytest.mark.parametrize("num_chosen", [1, 2, 3])
def test_experts_in_groups_equal_each_token_on_its_own(num_chosen: int) -> None:
    torch.manual_seed(0)
    experts = Experts(SkipDiTConfig(**{**CONFIG.__dict__, "experts_per_token": num_chosen}))
    tokens = torch.randn(2, 9, CONFIG.width)
    torch.testing.assert_close(experts(tokens), each_token_on_its_own(experts, tokens))


def test_an_expert_that_nobody_chooses_is_no_trouble() -> None:
    torch.manual_seed(0)
    experts = Experts(CONFIG)
    with torch.no_grad():
        experts.gate.weight.copy_(0.1 * torch.arange(6.0)[:, None].expand(-1, CONFIG.width))
    tokens = torch.rand(1, 3, CONFIG.width)  # positive: the last two experts are chosen for every token
    torch.testing.assert_close(experts(tokens), each_token_on_its_own(experts, tokens))


def test_no_picture_equals_a_picture_of_zeros() -> None:
    torch.manual_seed(0)
    dit = SkipDiT(CONFIG)
    latents, time = torch.randn(1, 7, 4), torch.tensor([0.3])
    asked = dit.velocity(latents, time, dit.keys_values(torch.zeros(1, 5, 8)))
    torch.testing.assert_close(dit.velocity(latents, time, None), asked)


def test_latents_are_a_set() -> None:
    torch.manual_seed(0)
    dit = SkipDiT(CONFIG)
    latents, time, context = torch.randn(1, 7, 4), torch.tensor([0.3]), torch.randn(1, 5, 8)
    order = torch.randperm(7)
    torch.testing.assert_close(dit(latents[:, order], time, context), dit(latents, time, context)[:, order])


@pytest.mark.parametrize(("num_blocks", "merging"), [(5, [3, 4]), (21, list(range(11, 21)))])
def test_the_second_half_of_the_blocks_merges(num_blocks: int, merging: list[int]) -> None:
    config = SkipDiTConfig(**{**CONFIG.__dict__, "num_blocks": num_blocks})
    assert [number for number in range(num_blocks) if config.merges(number)] == merging
