"""Which tests one process of pytest-xdist runs one after another, and in which order the groups are handed out."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

WAITING = ("service", "e2e", "fuzz")
"""Folders whose tests wait more than they compute."""
LONGEST = (
    *("test_chaos.py", "test_kill.py", "test_studio.py", "test_trouble.py", "test_load.py"),
    *("test_octree.py", "test_sparse_decode.py", "test_compiled.py"),
)
"""Files that take most of a minute or more: first, so that no process is left alone with one of them at the end."""
UNSHARED = ("test_chaos.py",)
"""Files whose tests share no service: each may have a process to itself."""
SHARED_SERVICE = "the shared service"


def group_of(nodeid: str) -> str:
    """The tests of a file, or of all files that ask the shared service, for one kind of database.

    A test whose file shares nothing is a group of its own.
    """
    file, _, test = nodeid.partition("::")
    if Path(file).name in UNSHARED:
        return nodeid
    database = re.search(r"\b(sqlite|postgres|house_on_postgres)\b", test.partition("[")[2])
    group = SHARED_SERVICE if asks_the_shared_service(file) else file
    return f"{group} {database[0]}" if database else group


@cache
def asks_the_shared_service(file: str) -> bool:
    """Whether tests of the file ask the `house` of tests/service/conftest.py, and none of their own."""
    path = Path(__file__).parents[2] / file
    if path.parent.name != "service":
        return False
    text = path.read_text("utf-8")
    asks = re.search(r"\beach_house: House|def test_\w+\([^)]*\bhouse: House", text)
    return asks is not None and not re.search(r"def house\((?!each_house)", text)


def in_turns(groups: Iterable[str]) -> list[str]:
    """Groups that wait and groups that compute in turns, so that the cores are busy all the time; the longest first."""
    ranked = sorted(groups, key=lambda group: (_rank(group), group))
    waiting = [group for group in ranked if _folder(group) in WAITING]
    computing = [group for group in ranked if _folder(group) not in WAITING]
    place = {group: at / len(kind) for kind in (waiting, computing) for at, group in enumerate(kind)}
    return sorted(ranked, key=lambda group: place[group])


def _folder(group: str) -> str:
    return WAITING[0] if group.startswith(SHARED_SERVICE) else group.split("/")[1]


def _rank(group: str) -> int:
    if group.startswith(SHARED_SERVICE):
        return -1
    name = Path(group.partition("::")[0].partition(" ")[0]).name
    return LONGEST.index(name) if name in LONGEST else len(LONGEST)
