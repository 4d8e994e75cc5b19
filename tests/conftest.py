"""Shape annotations of the model are checked while tests run; in production they cost nothing."""

from __future__ import annotations

import os
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


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Groups the tests for pytest-xdist: one process has all tests of a file, for one kind of database.

    Groups that wait and groups that compute take turns, so that the cores are busy all the time.
    """
    if not hasattr(config, "workerinput"):
        return
    groups: dict[str, pytest.Item] = {}
    for item in items:
        groups.setdefault(_group(item), item)
        item.add_marker(pytest.mark.xdist_group(_group(item)))
    ranked = sorted(groups, key=lambda name: _rank(groups[name]))
    waiting = [name for name in ranked if _parts(groups[name])[0] in WAITING]
    computing = [name for name in ranked if name not in waiting]
    place = {name: at / len(kind) for kind in (waiting, computing) for at, name in enumerate(kind)}
    items.sort(key=lambda item: (place[_group(item)], _group(item)))


def _parts(item: pytest.Item) -> tuple[str, ...]:
    return item.path.relative_to(Path(__file__).parent).parts


def _group(item: pytest.Item) -> str:
    callspec = getattr(item, "callspec", None)
    database = callspec.params.get("database", "") if callspec else ""
    if item.path.name in UNSHARED:
        return item.nodeid
    return f"{'/'.join(_parts(item))} {database}".strip()


def _rank(item: pytest.Item) -> int:
    return LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST)


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
