"""How a model's networks are run: by which functions and attention kernel, and from where their weights come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend

from hy3dgen.errors import NotFinite

StepCallback = Callable[[int, int], None]
Load = Callable[[nn.Module], None]
"""Called with a network before its weights are used: brings them to the device."""


def no_offload(network: nn.Module) -> None:
    """For weights that are on their device anyway."""


@dataclass(frozen=True)
class Execution:
    """What the defaults give is the plain way; every other gives the same shapes.

    `denoise` and `query` stand for the denoiser's and the geometry decoder's own call, as their compiled twins do.
    `attention` is the kernel to prefer while denoising, `load` what offloaded weights are loaded by, `points_per_call`
    the number of points that calls of the field were prepared for, None for any.
    """

    denoise: Callable[..., Tensor] | None = None
    query: Callable[..., Tensor] | None = None
    attention: SDPBackend | None = None
    load: Load = no_offload
    points_per_call: int | None = None
    is_pair_batched: bool = False
    """Both sides of the guidance in one call unless asked otherwise: for weights that are brought anew for each."""

    def bounded_points(self, wished: int) -> int:
        """The points of a call that may have `wished` at most: as many as were prepared, where that is no more."""
        return min(wished, self.points_per_call or wished)


def check_finite(numbers: Tensor, network: str) -> Tensor:
    """`numbers`, each of them finite; waits for the device.

    Raises:
        NotFinite: with the network, the number type and what may help.
    """
    if torch.isfinite(numbers).all():
        return numbers
    dtype = str(numbers.dtype).removeprefix("torch.")
    advice = "; DTYPE=bfloat16 has a wider range" if numbers.dtype == torch.float16 else ""
    raise NotFinite(f"{network} gave numbers that are not finite in {dtype}{advice}")


def once_done(callback: StepCallback, device: torch.device) -> StepCallback:
    """Calls `callback` after a step when the device has done it: a GPU is only given its work, many steps ahead.

    On a GPU one step behind: while a step is waited for, the next is already given, so that the device never idles.
    """
    if device.type != "cuda":
        return callback
    given: list[tuple[int, torch.cuda.Event]] = []

    def on_step(done: int, total: int) -> None:
        event = torch.cuda.Event()
        event.record(torch.cuda.current_stream(device))
        given.append((done, event))
        while given and (len(given) > 1 or done == total):
            step, finished = given.pop(0)
            finished.synchronize()
            callback(step, total)

    return on_step
