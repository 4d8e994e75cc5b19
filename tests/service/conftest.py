from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.groups import group_of
from support.postgres_server import PostgresServer

from service.house import House, Outside, free_port

ON_SQLITE = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
"""Where the kind of database makes no difference: one is enough."""
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


SHARED_HOUSES: list[House] = []
"""The services of the session that run in this process."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """Stops them after the last test that asks them: idle, each costs a tenth of a core until the session ends."""
    yield
    is_one_of_several = hasattr(item.config, "workerinput")
    if is_one_of_several and (nextitem is None or group_of(nextitem.nodeid) != group_of(item.nodeid)):
        while SHARED_HOUSES:
            SHARED_HOUSES.pop().close()


@pytest.fixture(scope="session")
def outside() -> Iterator[Outside]:
    world = Outside()
    yield world
    world.close()


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One running service for all tests that do it no harm, on SQLite."""
    for service in served(tmp_path_factory.mktemp("house")):
        SHARED_HOUSES.append(service)
        yield service


@pytest.fixture(scope="session")
def house_on_postgres(tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer) -> Iterator[House]:
    """The same service on Postgres."""
    for service in served(tmp_path_factory.mktemp("house-on-postgres"), DATABASE_URL=postgres.new_database()):
        SHARED_HOUSES.append(service)
        yield service


@pytest.fixture(scope="module", params=["house", "house_on_postgres"])
def each_house(request: pytest.FixtureRequest) -> House:
    """The service on each database in turn."""
    house: House = request.getfixturevalue(request.param)
    return house


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> dict[str, str]:
    """The setting that chooses a database of each kind in turn."""
    if request.param == "sqlite":
        return {}
    server: PostgresServer = request.getfixturevalue("postgres")
    return {"DATABASE_URL": server.new_database()}


def served(folder: Path, **settings: str) -> Iterator[House]:
    """A running service whose waits are short."""
    port = free_port()
    service = House(
        folder,
        {
            "PUBLIC_URL": f"http://127.0.0.1:{port}",
            "WEBHOOK_SECRET": SECRET,
            "WEBHOOK_DELAYS_S": "0,0.1,0.1",
            "WEBHOOK_TIMEOUT_S": "1.5",
            "DOWNLOAD_ATTEMPTS": "1",
            "DOWNLOAD_TIMEOUT_S": "3",
            "IMAGE_MAX_BYTES": "1000000",
            "MESH_MAX_BYTES": "2000000",
            "MESH_MAX_FACES": "20000",
            "STAND_IN_STEP_S": "0.05",
        }
        | settings,
        port,
    )
    with service.serving():
        yield service


@pytest.fixture(scope="session")
def node_packages(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where Node.js packages are kept from one run of the tests to the next."""
    cache = getattr(request.config, "cache", None)
    return Path(cache.mkdir("node")) if cache else tmp_path_factory.mktemp("node")
