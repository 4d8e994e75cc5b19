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


HEAVY = ("service", "e2e", "fuzz")
"""Folders whose files take minutes: they begin first, so that no process waits for another's last file."""
HEAVIEST = ("test_chaos.py", "test_kill.py", "test_studio.py", "test_trouble.py", "test_load.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Groups the tests for pytest-xdist: one process has all tests of a file, for one kind of database."""
    items.sort(key=_rank)
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_group(item)))


def _rank(item: pytest.Item) -> int:
    """The lower, the sooner; tests of equal rank keep their order."""
    if item.path.name in HEAVIEST:
        return HEAVIEST.index(item.path.name)
    folder = item.path.relative_to(Path(__file__).parent).parts[0]
    return len(HEAVIEST) + (HEAVY.index(folder) if folder in HEAVY else len(HEAVY))


def _group(item: pytest.Item) -> str:
    callspec = getattr(item, "callspec", None)
    database = callspec.params.get("database", "") if callspec else ""
    return f"{item.path.relative_to(Path(__file__).parent)} {database}".strip()


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
