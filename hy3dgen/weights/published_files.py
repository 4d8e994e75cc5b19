"""A published checkpoint, file or folder, seen as one table of tensors and its JSON settings.

    model.safetensors, model.ckpt        one file; a pickle's nested tables get their key as prefix
    folder/model.fp16.ckpt               a folder around one file
    folder/transformer/*.safetensors     one file per component, in shards or not: the component's name is the prefix
    folder/transformer/config.json       settings, by their path in the folder

Files are opened lazily and mapped: a tensor takes memory when it is read. Knows no family.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hy3dgen.errors import CheckpointError
from hy3dgen.weights.tensor_file import Shapes, TensorFile, open_pickled_tables, open_weights

INDEX_SUFFIX = ".safetensors.index.json"
PICKLED = (".ckpt", ".bin", ".pt", ".pth")


@dataclass(frozen=True)
class PublishedFiles:
    """An opened checkpoint. `settings` holds each JSON file of a folder by its path in it, `vae/config.json`."""

    path: Path
    shapes: Shapes
    header: Mapping[str, str]
    settings: Mapping[str, Mapping[str, Any]]
    homes: Mapping[str, tuple[TensorFile, str]]
    """Which file holds each tensor, and under which name."""

    def read(self, name: str) -> Tensor:
        """The tensor called `name`, on the device that the files were opened for."""
        file, own_name = self.homes[name]
        return file.read(own_name)

    def setting(self, file: str, name: str, default: Any) -> Any:
        """The number `name` of a JSON file; `default` where file or number is absent."""
        value = self.settings.get(file, {}).get(name)
        return default if value is None else value


@contextmanager
def open_published(path: Path, device: torch.device) -> Iterator[PublishedFiles]:
    """The checkpoint at `path`, a file or a folder in a published layout.

    Raises:
        CheckpointError: nothing there, a file is damaged, or shards and their index disagree.
    """
    with ExitStack() as opened:
        files = [
            (prefix, opened.enter_context(_open_one(file, device))) for prefix, file in _weights_files(path)
        ]
        homes: dict[str, tuple[TensorFile, str]] = {}
        for prefix, file in files:
            for name in file.shapes:
                if prefix + name in homes:
                    raise CheckpointError(f"{path.name} holds {prefix + name} twice")
                homes[prefix + name] = (file, name)
        yield PublishedFiles(
            path,
            shapes={name: file.shapes[own] for name, (file, own) in homes.items()},
            header=files[0][1].header if len(files) == 1 else {},
            settings=_settings(path),
            homes=homes,
        )


def _open_one(file: Path, device: torch.device) -> Any:
    if file.suffix in PICKLED:
        return open_pickled_tables(file, device)
    return open_weights(file, device)


def _weights_files(path: Path) -> list[tuple[str, Path]]:
    """Each file with the prefix that its names get."""
    if not path.is_dir():
        return [("", path)]
    found = [(f"{folder.name}.", file) for folder in _components(path) for file in _files_in(folder)]
    found = found or [("", file) for file in _files_in(path)]
    if not found:
        raise CheckpointError(f"no weights in the folder {path.name}: it has {_listing(path)}")
    return found


def _components(path: Path) -> list[Path]:
    """The folders of a checkpoint's networks: those that its index names, else all."""
    index = path / "model_index.json"
    folders = sorted(entry for entry in path.iterdir() if entry.is_dir())
    if not index.is_file():
        return folders
    # Each entry is [library, class]; a component that is not there has null for both. The names are not looked at.
    named = {name for name, entry in _json_object(index).items() if isinstance(entry, list) and any(entry)}
    return [folder for folder in folders if folder.name in named]


def _files_in(folder: Path) -> list[Path]:
    """The weights of one folder: the shards of an index, else the one file there is.

    Raises:
        CheckpointError: a shard is missing, or there are several files and no index.
    """
    indices = sorted(folder.glob(f"*{INDEX_SUFFIX}"))
    if indices:
        return _shards(indices[0])
    found = sorted(folder.glob("*.safetensors")) or sorted(
        file for file in folder.iterdir() if file.suffix in PICKLED
    )
    if len(found) > 1:
        names = ", ".join(file.name for file in found)
        raise CheckpointError(f"{folder.name} holds several weights files and no index: {names}")
    return found


def _shards(index: Path) -> list[Path]:
    try:
        table = json.loads(index.read_text())["weight_map"]
        names = sorted(set(table.values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{index.name} is no index of shards") from error
    # An index names files beside it; a path that leads elsewhere is no shard.
    files = [index.parent / Path(name).name for name in names]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise CheckpointError(f"{index.parent.name} lacks the shards {', '.join(missing)}")
    return files


def _settings(path: Path) -> dict[str, Mapping[str, Any]]:
    if not path.is_dir():
        return {}
    found = {}
    for file in sorted([*path.glob("*.json"), *path.glob("*/*.json")]):
        if file.name.endswith("config.json") or file.name == "model_index.json":
            found[file.relative_to(path).as_posix()] = _json_object(file)
    return found


def _json_object(file: Path) -> Mapping[str, Any]:
    try:
        value = json.loads(file.read_text())
    except ValueError as error:
        raise CheckpointError(f"{file.parent.name}/{file.name} is not JSON") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{file.parent.name}/{file.name} is no JSON object")
    return value


def _listing(path: Path) -> str:
    names: Sequence[str] = sorted(entry.name for entry in path.iterdir())
    return ", ".join(names[:8]) or "nothing"
