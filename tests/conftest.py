"""Shape annotations of the model are checked while tests run; in production they cost nothing."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
# ShellCheck, hadolint and others come as packages: they lie beside this Python.
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

import pytest
from jaxtyping import install_import_hook
from support.postgres_server import PostgresServer, running_postgres
from xdist.remote import Producer
from xdist.scheduler.loadscope import LoadScopeScheduling

install_import_hook(
    [
        "hy3dgen.networks.skip_dit",
        "hy3dgen.networks.stream_dit",
        "hy3dgen.networks.vecset_decoder",
        "hy3dgen.networks.image_encoder",
        "hy3dgen.sampling",
        "hy3dgen.networks.layers",
        "hy3dgen.families.velocity",
    ],
    "beartype.beartype",
)


WAITING = ("service", "e2e", "fuzz")
"""Folders whose tests wait more than they compute."""
LONGEST = (
    *("test_chaos.py", "test_kill.py", "test_studio.py", "test_trouble.py", "test_load.py"),
    *("test_octree.py", "test_sparse_decode.py", "test_compiled.py"),
)
"""Files that take most of a minute or more: first, so that no process is left alone with one of them at the end."""
UNSHARED = ("test_chaos.py",)
"""Files whose tests share no service: each may have a process to itself."""


class GroupScheduling(LoadScopeScheduling):  # type: ignore[misc]
    """Gives one process all tests of a group: the services of a module are started once, not once a process.

    Marks of xdist_group do not: xdist writes them into names of tests, which pytest 9.2 no longer lets it.
    """

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> GroupScheduling:
    """Asked by pytest-xdist in the process that hands tests out."""
    return GroupScheduling(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Puts groups that wait and groups that compute in turns, so that the cores are busy all the time."""
    if not hasattr(config, "workerinput"):
        return
    ranked = sorted(dict.fromkeys(group_of(item.nodeid) for item in items), key=_rank)
    waiting = [name for name in ranked if name.split("/")[1] in WAITING]
    computing = [name for name in ranked if name not in waiting]
    place = {name: at / len(kind) for kind in (waiting, computing) for at, name in enumerate(kind)}
    items.sort(key=lambda item: (place[group_of(item.nodeid)], group_of(item.nodeid)))


def group_of(nodeid: str) -> str:
    """The tests of a file, for one kind of database, or a test whose file shares no service."""
    file, _, test = nodeid.partition("::")
    if Path(file).name in UNSHARED:
        return nodeid
    database = re.search(r"\b(sqlite|postgres)\b", test.partition("[")[2])
    return f"{file} {database[0]}" if database else file


def _rank(group: str) -> int:
    name = Path(group.partition("::")[0].partition(" ")[0]).name
    return LONGEST.index(name) if name in LONGEST else len(LONGEST)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A running Postgres."""
    with running_postgres() as server:
        yield server


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> str:
    """The URL of an empty Postgres database."""
    return postgres.new_database()


@pytest.fixture(params=["sqlite", "postgres"])
def each_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, of each kind in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'jobs.sqlite'}"
    url: str = request.getfixturevalue("postgres_url")
    return url
