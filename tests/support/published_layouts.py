"""Checkpoints in published layouts, made of the parity fixtures: other dtypes, shards, pickles, one tensor changed."""

from __future__ import annotations

import itertools
import json
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from hy3dgen.weights.published_files import PublishedFiles

Tensors = dict[str, Tensor]
Change = Callable[[Tensors], object]


def expanded(names: Mapping[str, list[int]]) -> dict[str, tuple[int, ...]]:
    """`a.{0..2}.b` stands for three names."""
    found: dict[str, tuple[int, ...]] = {}
    for name, shape in names.items():
        parts = re.split(r"\{(\d+)(?:\.\.(\d+))?\}", name)
        ranges = [
            range(int(low), int(high or low) + 1) for low, high in zip(parts[1::3], parts[2::3], strict=True)
        ]
        for indices in itertools.product(*ranges):
            texts = [*(str(index) for index in indices), ""]
            found["".join(itertools.chain(*zip(parts[0::3], texts, strict=True)))] = tuple(shape)
    return found


def described(
    shapes: Mapping[str, tuple[int, ...]], settings: Mapping[str, Mapping[str, Any]]
) -> PublishedFiles:
    """Files of which only names, shapes and settings are known."""
    return PublishedFiles(Path("published"), dict(shapes), {}, dict(settings), {})


def weights_files(folder: Path) -> list[Path]:
    """The weights of a checkpoint's components."""
    return sorted(folder.glob("*/*.safetensors"))


def copied(folder: Path, target: Path, dtype: torch.dtype | None = None) -> Path:
    """A component folder, its tensors in another dtype where one is given."""
    shutil.copytree(folder, target, ignore=shutil.ignore_patterns("stages*", "*.png", "keys_full.json"))
    for file in weights_files(target) if dtype else ():
        changed(file, lambda tensors: tensors.update({name: one.to(dtype) for name, one in tensors.items()}))
    return target


def changed(file: Path, change: Change) -> Path:
    """The same file after `change` was applied to its tensors."""
    tensors = load_file(file)
    change(tensors)
    save_file({name: one.contiguous() for name, one in tensors.items()}, file)
    return file


def in_shards(file: Path, num_shards: int = 3) -> None:
    """Replaces a weights file by shards and their index."""
    tensors = load_file(file)
    names = sorted(tensors)
    weight_map: dict[str, str] = {}
    for number in range(num_shards):
        own = names[number::num_shards]
        shard = f"{file.stem}-{number + 1:05d}-of-{num_shards:05d}.safetensors"
        save_file({name: tensors[name] for name in own}, file.with_name(shard))
        weight_map |= dict.fromkeys(own, shard)
    file.with_name(f"{file.name}.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": weight_map})
    )
    file.unlink()


def nested_pickle(file: Path, target: Path) -> Path:
    """A flat file as the pickle of one table per prefix."""
    tables: dict[str, Tensors] = {}
    for name, tensor in load_file(file).items():
        prefix, own = name.split(".", 1)
        tables.setdefault(prefix, {})[own] = tensor
    torch.save(tables, target)
    return target
