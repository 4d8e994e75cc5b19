"""How a training run spends its minutes: learning rate by time, averaged weights, restartable state.

The rate follows the share of the time budget that is used up, so a run ends finished whatever the machine. A run
that was stopped goes on where its last saved state was. Knows no network.
"""

from __future__ import annotations

import copy
import math
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

SAVE_EVERY_S = 120.0
WARM_UP_STEPS = 50
MAX_GRADIENT_NORM = 1.0
# Muon's orthogonalisation costs the cube of the shorter side: it pays for narrow matrices alone.
MAX_MUON_SIDE = 256


def set_up(seed: int) -> torch.Generator:
    """One thread, no denormal numbers, a seeded generator."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.manual_seed(seed)
    return torch.Generator().manual_seed(seed)


class Average:
    """An exponential average of a network's weights; short at first, then about 1 / (1 - decay) steps long."""

    def __init__(self, network: nn.Module, decay: float = 0.999) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False).eval()
        self.decay, self.steps = decay, 0

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Moves the average towards the network's weights."""
        self.steps += 1
        weight = 1 - min(self.decay, self.steps / (self.steps + 10))
        torch._foreach_lerp_(
            list(self.network.parameters()), [p.detach() for p in network.parameters()], weight
        )


class Trainer:
    """Networks by name, their averages and one optimiser; `steps()` yields until the budget is used up."""

    def __init__(
        self,
        networks: dict[str, nn.Module],
        rates: dict[str, float],
        minutes: float,
        path: Path,
        decay: float = 0.999,
    ) -> None:
        self.networks, self.rates, self.path, self.budget_s = networks, rates, path, minutes * 60
        self.averages = {name: Average(network, decay) for name, network in networks.items()}
        self.optimizers = list(_optimizers(networks, rates))
        self.elapsed_s, self.step = 0.0, 0

    def steps(self) -> Iterator[int]:
        """Step numbers, with the rate set for each, until the time is up; saves the state every few minutes."""
        last = saved = time.monotonic()
        while self.elapsed_s < self.budget_s:
            self._set_rate()
            yield self.step
            now = time.monotonic()
            self.elapsed_s, last, self.step = self.elapsed_s + now - last, now, self.step + 1
            if now - saved > SAVE_EVERY_S:
                self.save()
                saved = now
        self.save()

    def _set_rate(self) -> None:
        used = min(self.elapsed_s / self.budget_s, 1.0)
        factor = min(1.0, (self.step + 1) / WARM_UP_STEPS) * 0.5 * (1 + math.cos(math.pi * used))
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["full_rate"] * factor

    def descend(self, loss: Tensor) -> None:
        """One optimiser step on the loss, with clipped gradients, and an update of the averages."""
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        for network in self.networks.values():
            nn.utils.clip_grad_norm_(network.parameters(), MAX_GRADIENT_NORM)
        for optimizer in self.optimizers:
            optimizer.step()
        for name, network in self.networks.items():
            self.averages[name].update(network)

    def save(self) -> None:
        """Writes everything a restart needs; the file appears whole or not at all."""
        state = {
            "networks": {name: network.state_dict() for name, network in self.networks.items()},
            "averages": {name: average.network.state_dict() for name, average in self.averages.items()},
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "step": self.step,
            "elapsed_s": self.elapsed_s,
        }
        partial = self.path.with_suffix(".partial")
        torch.save(state, partial)
        os.replace(partial, self.path)

    def resume(self) -> bool:
        """Goes back to the saved state, if there is one."""
        if not self.path.exists():
            return False
        state = torch.load(self.path, weights_only=True)
        for name, network in self.networks.items():
            network.load_state_dict(state["networks"][name])
            self.averages[name].network.load_state_dict(state["averages"][name])
            self.averages[name].steps = state["step"]
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.step, self.elapsed_s = state["step"], state["elapsed_s"]
        return True


def averaged_weights(path: Path) -> dict[str, Any]:
    """The averaged weights of a finished (or running) stage, by network name."""
    weights: dict[str, Any] = torch.load(path, weights_only=True)["averages"]
    return weights


def _optimizers(networks: dict[str, nn.Module], rates: dict[str, float]) -> Iterable[torch.optim.Optimizer]:
    """Muon for the matrices of hidden layers, AdamW for the rest."""
    matrices: list[tuple[str, nn.Parameter]] = []
    others: list[tuple[str, nn.Parameter]] = []
    for name, network in networks.items():
        for key, parameter in network.named_parameters():
            is_hidden = parameter.ndim == 2 and 64 < min(parameter.shape) <= MAX_MUON_SIDE
            is_hidden = is_hidden and not any(part in key for part in ("embeddings", "modulation", "time_in"))
            (matrices if is_hidden else others).append((name, parameter))
    groups = [
        {"params": [p for n, p in others if n == name], "full_rate": rate} for name, rate in rates.items()
    ]
    yield torch.optim.AdamW(groups, lr=1.0, betas=(0.9, 0.98), weight_decay=0.01)
    if matrices:
        groups = [
            {"params": [p for n, p in matrices if n == name], "full_rate": rate}
            for name, rate in rates.items()
        ]
        yield torch.optim.Muon(groups, lr=1.0, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
