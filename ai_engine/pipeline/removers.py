"""The matting models that a worker has, by name: the service's own, and those that a request may choose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ai_engine.errors import InternalError
from ai_engine.images.background import MATTING_MODELS, BackgroundRemover, Refinement, Remover, open_remover
from ai_engine.stage import Stage


@dataclass(frozen=True, eq=False)
class Removers:
    """`default` is what jobs get that name none; `installed` has all by their names. Each loads when first used."""

    default: Remover | None = None
    installed: Mapping[str, Remover] = field(default_factory=dict)

    def choose(self, name: str | None) -> Remover | None:
        """The matting model of that name; the default for None.

        Raises:
            InternalError: this worker has no such model, though another one said so.
        """
        if name is None:
            return self.default
        if name not in self.installed:
            raise InternalError(f"The worker has no matting model {name}.", stage=Stage.CUTOUT)
        return self.installed[name]


def open_removers(
    default: str, home: Path, *, refine: Refinement = "grabcut", num_threads: int = 0
) -> Removers:
    """The models whose files are in `home`, and the one called `default`, which is loaded.

    Raises:
        MattingModelUnusable: the file of `default` is missing or damaged.
    """
    remover = open_remover(default, home, refine=refine, num_threads=num_threads)
    if remover is not None:
        remover.load()
    found = {
        name: BackgroundRemover(name, home, refine=refine, num_threads=num_threads) for name in MATTING_MODELS
    }
    installed: dict[str, Remover] = {name: one for name, one in found.items() if one.weights_path.is_file()}
    return Removers(remover, installed | ({} if remover is None else {default: remover}))
