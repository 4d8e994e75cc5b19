"""The pictures that a command line names: files, folders, which may be watched, URLs, standard input, views."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ai_engine.cli.outputs import stem_of
from ai_engine.facts import ViewName
from ai_engine.images.data_url import is_data_url

PICTURE_SUFFIXES = frozenset(
    {
        *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".avif"),
        *(".heic", ".heif", ".gif", ".bmp", ".tif", ".tiff"),
    }
)
"""Of what a folder gives. Those in the second line are refused, by a sentence each: none is passed over in silence."""
LOOK_EVERY_S = 1.0


@dataclass(frozen=True)
class Source:
    """One picture of the command line."""

    name: str
    """As it is called in messages."""
    stem: str
    """As its mesh is called."""
    picture: str | Path | bytes | dict[ViewName, str]


@dataclass
class Sources:
    """The pictures that `arguments` name, or the one object that `views` show."""

    arguments: Sequence[str]
    views: Mapping[ViewName, str]
    refuse: Callable[[Source, Exception], None]
    """Called with a folder that can't be read; the others go on."""
    is_watching: bool = False
    """Go on with pictures that come into the folders."""
    _seen: set[Path] = field(default_factory=set)

    def __iter__(self) -> Iterator[Source]:
        if self.views:
            name = next(iter(self.views.values()))
            yield Source(name, stem_of(name), dict(self.views))
        folders: list[Path] = []
        for argument in self.arguments:
            if is_folder(argument):
                folders.append(Path(argument))
                yield from self._look_into(folders, folders[-1])
            else:
                yield _source_of(argument)
        while self.is_watching and folders:
            time.sleep(LOOK_EVERY_S)
            for folder in list(folders):
                yield from self._look_into(folders, folder, settled_s=LOOK_EVERY_S)

    def _look_into(self, folders: list[Path], folder: Path, *, settled_s: float = 0.0) -> Iterator[Source]:
        """The pictures of a folder that were not seen yet; it leaves `folders` where it can't be read."""
        try:
            found = list(_pictures_in(folder, self._seen, settled_s))
        except OSError as error:
            folders.remove(folder)
            self.refuse(Source(str(folder), "", folder), error)
            return
        yield from found


def is_folder(argument: str) -> bool:
    """True for the name of a folder that is there; URLs, of any length, are none."""
    if is_data_url(argument) or _is_url(argument):
        return False
    try:
        return Path(argument).is_dir()
    except OSError:  # longer than a name may be
        return False


def _source_of(argument: str) -> Source:
    if argument == "-":
        return Source("standard input", "mesh", sys.stdin.buffer.read())
    if is_data_url(argument):
        return Source("data URL", "mesh", argument)
    return Source(argument, stem_of(argument), argument if _is_url(argument) else Path(argument))


def _is_url(argument: str) -> bool:
    return argument.lower().startswith(("http://", "https://"))


def _pictures_in(folder: Path, seen: set[Path], settled_s: float) -> Iterator[Source]:
    """The pictures of a folder that were not seen yet, by name, and are no longer written.

    Raises:
        OSError: the folder can't be read.
    """
    paths = [path for path in sorted(folder.iterdir()) if _is_picture(path)]
    stems = Counter(path.stem for path in paths)
    for path in paths:
        if path not in seen and _age_s(path) >= settled_s:
            seen.add(path)
            yield Source(str(path), path.stem if stems[path.stem] == 1 else path.name, path)


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith(".") and path.is_file()


def _age_s(path: Path) -> float:
    """Seconds since the file was written last; less than none where it is gone."""
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return -1.0
