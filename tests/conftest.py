"""Shape annotations of the model are checked while tests run; in production they cost nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

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
