"""`python main.py doctor`: what is installed, reachable and usable here; each line `ok`, or `!!` and what to do.

Looks, and leaves nothing behind. Loads the models the way a worker would.
"""

from __future__ import annotations

import re
import shutil
import socket
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from importlib.metadata import PackageNotFoundError, version

from ai_engine.cli.model_checks import Check, Finding, matting_model, shape_model
from ai_engine.errors import StartupError
from ai_engine.outbound.addresses import AddressForbidden, AddressPolicy, parse_exceptions
from ai_engine.outbound.policies import download_policy, webhook_policy
from ai_engine.settings import Settings, find_shipped
from ai_engine.slicing.profiles import profile_files
from ai_engine.slicing.slicer import Slicer
from ai_engine.storage.s3_store import check_bucket

REQUIREMENTS = find_shipped("requirements.txt")
MIN_PYTHON = (3, 11)
CONNECT_S = 3.0
LOOK_UP_S = 5.0


def print_problems(settings: Settings) -> None:
    """Prints to stderr what the quick checks find wrong: no model is loaded, no name looked up."""
    for check in QUICK_CHECKS:
        for finding in _run_check(check, settings):
            if finding.remedy is not None:
                print(finding, file=sys.stderr, flush=True)


def run_doctor(settings: Settings) -> int:
    """Prints every finding as it is made; the exit status is 1 when there is something to do."""
    num_wrong = 0
    for check in CHECKS:
        for finding in _run_check(check, settings):
            print(finding, flush=True)
            num_wrong += finding.remedy is not None
    print(f"\n{num_wrong} to do" if num_wrong else "\nall is well")
    return 1 if num_wrong else 0


def _run_check(check: Check, settings: Settings) -> Iterator[Finding]:
    try:
        yield from check(settings)
    except Exception as error:  # One check that stumbles must not hide the findings of the others.
        name = check.__name__.strip("_").replace("_", " ")
        yield Finding(f"{name}: {type(error).__name__}: {error}", "this check itself failed")


def _python(_: Settings) -> Iterator[Finding]:
    found = ".".join(map(str, sys.version_info[:3]))
    wanted = ".".join(map(str, MIN_PYTHON))
    is_new_enough = sys.version_info >= MIN_PYTHON
    yield Finding(f"Python {found}", None if is_new_enough else f"install Python {wanted} or newer")


def _packages(_: Settings) -> Iterator[Finding]:
    pins = dict(re.findall(r"^([\w.-]+)(?:\[[\w,]+\])?==([\w.]+)", REQUIREMENTS.read_text(), re.MULTILINE))
    found = {name: _installed_version(name) for name in pins}
    off = {name: have for name, have in found.items() if have is None or have.split("+")[0] != pins[name]}
    for name, have in off.items():
        yield Finding(
            f"{name}: {have or 'not installed'}, wanted {pins[name]}", "pip install -r requirements.txt"
        )
    if not off:
        notable = ("torch", "onnxruntime", "rembg", "dbos", "fastapi")
        shown = ", ".join(f"{name} {found[name]}" for name in notable if name in found)
        yield Finding(f"{len(pins)} packages as pinned: {shown}")


def _installed_version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _access(settings: Settings) -> Iterator[Finding]:
    from ai_engine.web.api_keys import check_access

    try:
        keys = check_access(settings)
    except StartupError as error:
        yield Finding(f"access: {error}", "see docs/security.md")
        return
    owners = sorted({key.name for key in keys.keys})
    yield Finding(
        f"access: keys of {', '.join(owners)}" if owners else "access: no keys, everybody is let in"
    )


def _data_folder(settings: Settings) -> Iterator[Finding]:
    folder = settings.data_dir.absolute()
    there = next(place for place in (folder, *folder.parents) if place.exists())
    try:
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(b"x")
    except OSError as error:
        yield Finding(
            f"data folder {folder}: {error.strerror}", "make it writable for this user, or set DATA_DIR"
        )
        return
    yield Finding(f"data folder {folder} is writable")
    free = shutil.disk_usage(there).free
    is_enough = free >= settings.min_free_disk_bytes
    yield Finding(
        f"{free / 1e9:.1f} GB free there",
        None if is_enough else "make room: below MIN_FREE_DISK_BYTES no job is taken",
    )


def _sqlite(settings: Settings) -> Iterator[Finding]:
    if settings.sqlite_path is not None:
        yield Finding(f"SQLite {sqlite3.sqlite_version}")


def _file_store(settings: Settings) -> Iterator[Finding]:
    if settings.artifacts_url is None:
        yield Finding("files of jobs: in the data folder")
        return
    try:
        check_bucket(settings)
    except StartupError as error:
        yield Finding(str(error), "see docs/operations.md")
        return
    yield Finding(f"files of jobs: {settings.artifacts_url} can be written")


def _database(settings: Settings) -> Iterator[Finding]:
    path = settings.sqlite_path
    if path is None:
        yield from _database_server(settings)
    elif not path.exists():
        yield Finding(f"database: SQLite, {path} will be made")
    else:
        with closing(sqlite3.connect(f"file:{path.as_posix()}?mode=ro", uri=True, timeout=5)) as connection:
            (verdict,) = connection.execute("PRAGMA quick_check").fetchone()
        is_sound = verdict == "ok"
        yield Finding(f"database: SQLite, {path}: {verdict}", None if is_sound else "restore it from a copy")


def _database_server(settings: Settings) -> Iterator[Finding]:
    from sqlalchemy import create_engine, make_url, text
    from sqlalchemy.exc import SQLAlchemyError

    engine = create_engine(make_url(settings.jobs_database_url).set(drivername="postgresql+psycopg"))
    shown = engine.url.render_as_string(hide_password=True)
    try:
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))
    except (SQLAlchemyError, OSError) as error:
        yield Finding(f"database {shown}: {type(error).__name__}", "start it, or set DATABASE_URL")
        return
    finally:
        engine.dispose()
    yield Finding(f"database: {shown} answers")


def _port(settings: Settings) -> Iterator[Finding]:
    try:
        with socket.create_server((settings.host, settings.port)):
            pass
    except OSError as error:
        remedy = "the service may be running already; otherwise set HOST or PORT"
        yield Finding(f"port {settings.port} on {settings.host}: {error.strerror}", remedy)
        return
    yield Finding(f"port {settings.port} on {settings.host} is free")


def _addresses(settings: Settings) -> Iterator[Finding]:
    try:
        policies = {"pictures": download_policy(settings), "webhooks": webhook_policy(settings)}
    except StartupError as error:
        yield Finding(
            f"addresses: {error}", "set ALLOWED_PRIVATE_DOWNLOAD_HOSTS and ..._WEBHOOK_HOSTS as host:port,..."
        )
        return
    profile = "development" if settings.is_development else "production"
    for what, policy in policies.items():
        is_right = _is_shut(policy, "http://169.254.169.254/") and _is_shut(policy, "http://10.11.12.13/")
        is_right = is_right and (settings.is_development or _is_shut(policy, "http://127.0.0.1/"))
        remedy = None if is_right else "unset the exceptions that open these"
        yield Finding(
            f"addresses of {what}: {profile} profile, private networks and metadata are shut", remedy
        )
    yield _public_names()


def _is_shut(policy: AddressPolicy, url: str) -> bool:
    """True when the URL is refused; a rewritten loopback counts as shut, as it leads elsewhere."""
    try:
        return policy.parse(url).host != url.split("/")[2]
    except AddressForbidden:
        return True


def _public_names() -> Finding:
    try:
        AddressPolicy().addresses("example.com", 443, timeout_s=LOOK_UP_S)
    except (OSError, AddressForbidden):
        return Finding("public names do not resolve here: pictures and webhooks must be on hosts that do")
    return Finding("public names resolve")


def _private_hosts(settings: Settings) -> Iterator[Finding]:
    listed = settings.allowed_private_download_hosts + "," + settings.allowed_private_webhook_hosts
    for host, port in sorted(parse_exceptions(listed)):
        try:
            with socket.create_connection((host, port), CONNECT_S):
                yield Finding(f"{host}:{port} answers")
        except OSError as error:
            yield Finding(
                f"{host}:{port}: {error}", "start what should listen there, or take it off the list"
            )


def _webhook_secret(settings: Settings) -> Iterator[Finding]:
    num_secrets = len(settings.webhook_secrets)
    signed = (
        f"signed with {num_secrets} secret(s)" if num_secrets else "not signed, WEBHOOK_SECRET is not set"
    )
    yield Finding(f"deliveries are {signed}")


def _slicer(settings: Settings) -> Iterator[Finding]:
    slicer = Slicer.of(settings)
    names = ", ".join(profile_files(slicer.profiles, "printer")) or "none"
    if slicer.program is None:
        yield Finding(f"slicer: {slicer.command} is not installed; requests with slice are refused")
    elif (version := slicer.version()) is None:
        yield Finding(
            f"slicer: {slicer.command} does not say its version", "install PrusaSlicer 2.5 or later"
        )
    else:
        yield Finding(f"slicer: {version}; printers: {names}")


CHECKS: tuple[Check, ...] = (
    _python,
    _packages,
    shape_model,
    matting_model,
    _data_folder,
    _sqlite,
    _file_store,
    _database,
    _port,
    _addresses,
    _private_hosts,
    _access,
    _webhook_secret,
    _slicer,
)

QUICK_CHECKS: tuple[Check, ...] = (_python, _packages, _data_folder, _port, _access)
"""What needs neither a model nor the network: milliseconds."""
