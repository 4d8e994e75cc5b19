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
from support.groups import group_of, in_turns
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
    place = {name: at for at, name in enumerate(in_turns({group_of(item.nodeid) for item in items}))}
    items.sort(key=lambda item: place[group_of(item.nodeid)])


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
