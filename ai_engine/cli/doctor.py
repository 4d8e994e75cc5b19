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
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from ai_engine.cli.trial_job import trial_warnings
from ai_engine.errors import StartupError
from ai_engine.outbound.addresses import AddressForbidden, AddressPolicy, parse_exceptions
from ai_engine.outbound.policies import download_policy, webhook_policy
from ai_engine.settings import Settings
from ai_engine.storage.s3_store import check_bucket

if TYPE_CHECKING:  # PyTorch is imported when a model is loaded, not before
    from ai_engine.pipeline.shape_model import ShapeModel

REQUIREMENTS = Path(__file__).resolve().parents[2] / "requirements.txt"
MIN_PYTHON = (3, 11)
CONNECT_S = 3.0
LOOK_UP_S = 5.0
QUICK_WEIGHTS_BYTES = 100_000_000
"""Of the shape model, for a trial job on a CPU."""


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report."""

    text: str
    remedy: str | None = None
    """What to do; None when all is well."""

    def __str__(self) -> str:
        return f"ok  {self.text}" if self.remedy is None else f"!!  {self.text}\n      {self.remedy}"


Check = Callable[[Settings], Iterator[Finding]]


def print_problems(settings: Settings) -> None:
    """Prints to stderr what the quick checks find wrong: no model is loaded, no name looked up."""
    for check in QUICK_CHECKS:
        for finding in _guarded(check, settings):
            if finding.remedy is not None:
                print(finding, file=sys.stderr, flush=True)


def run_doctor(settings: Settings) -> int:
    """Prints every finding as it is made; the exit status is 1 when there is something to do."""
    num_wrong = 0
    for check in CHECKS:
        for finding in _guarded(check, settings):
            print(finding, flush=True)
            num_wrong += finding.remedy is not None
    print(f"\n{num_wrong} to do" if num_wrong else "\nall is well")
    return 1 if num_wrong else 0


def _guarded(check: Check, settings: Settings) -> Iterator[Finding]:
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
    found = {name: _installed(name) for name in pins}
    off = {name: have for name, have in found.items() if have is None or have.split("+")[0] != pins[name]}
    for name, have in off.items():
        yield Finding(
            f"{name}: {have or 'not installed'}, wanted {pins[name]}", "pip install -r requirements.txt"
        )
    if not off:
        notable = ("torch", "transformers", "onnxruntime", "rembg", "dbos", "fastapi")
        shown = ", ".join(f"{name} {found[name]}" for name in notable if name in found)
        yield Finding(f"{len(pins)} packages as pinned: {shown}")


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _shape_model(settings: Settings) -> Iterator[Finding]:
    if settings.is_stand_in:
        yield Finding("shape model: the stand-in, a sphere for every picture")
        return
    from ai_engine.pipeline.shape_model import Room, ShapeModel

    try:
        for device in settings.devices:
            yield _room(settings.model_copy(update={"device": device}))
        begun_at = time.monotonic()
        model = ShapeModel.load(settings.model_copy(update={"device": settings.devices[0]}))
    except StartupError as error:
        yield Finding(f"shape model: {error}", "set DEVICE, MODEL_PATH, MODEL_VARIANT; see docs/licences.md")
        return
    seconds = time.monotonic() - begun_at
    yield Finding(f"shape model: {model.model_id} from {settings.model_path}, loaded in {seconds:.1f} s")
    yield _field(model, Room.on(model.device, settings).weights.total)


def _field(model: ShapeModel, weights_bytes: int) -> Finding:
    """Whether the field of a plain picture looks as a field must, where that is quick."""
    if not model.has_gpu and weights_bytes > QUICK_WEIGHTS_BYTES:
        return Finding("field: looked at with every job (decode.warnings); it takes long here, without a GPU")
    warnings = trial_warnings(model)
    if warnings:
        return Finding(
            f"field: {'; '.join(warnings)}", "compare meshes with their pictures before you serve these"
        )
    return Finding("field: negative outside, positive inside, of a usual range")


def _room(settings: Settings) -> Finding:
    """Whether the shape model will fit its device, told before it is loaded.

    Raises:
        StartupError: no such device, or the checkpoint can't be used.
    """
    from ai_engine.pipeline.shape_model import Room, choose_device

    device = choose_device(settings.device, require_gpu=settings.require_gpu)
    room = Room.on(device, settings)
    there = "main memory" if room.free is None else f"{room.free / 1e9:.1f} GB free"
    text = f"device: {device}, {there}; a job takes about {room.needed / 1e9:.1f} GB, memory {room.residence}"
    if room.free is None:
        return _main_memory(text, room.needed, free_main_memory())
    return Finding(text, None if room.is_enough else "set MEMORY=auto, or free the device of other programs")


def _main_memory(text: str, needed: int, free: int | None) -> Finding:
    if free is None:
        return Finding(text)
    is_enough = needed <= free
    remedy = "take a machine or a container with more memory, or a smaller checkpoint"
    return Finding(f"{text}; {free / 1e9:.1f} GB free", None if is_enough else remedy)


def _matting_model(settings: Settings) -> Iterator[Finding]:
    from ai_engine.images.background import MattingModelUnusable, open_remover

    remover = open_remover(settings.matting_model, settings.matting_home)
    if remover is None:
        yield Finding("matting model: none, pictures must bring an alpha channel")
        return
    try:
        remover.load()
    except MattingModelUnusable as error:
        yield Finding(str(error), f"put the file there, or set MATTING_MODEL (now {settings.matting_model})")
        return
    yield Finding(f"matting model: {settings.matting_model} from {remover.weights_path}")


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


CHECKS: tuple[Check, ...] = (
    _python,
    _packages,
    _shape_model,
    _matting_model,
    _data_folder,
    _sqlite,
    _file_store,
    _database,
    _port,
    _addresses,
    _private_hosts,
    _access,
    _webhook_secret,
)

QUICK_CHECKS: tuple[Check, ...] = (_python, _packages, _data_folder, _port, _access)
"""What needs neither a model nor the network: milliseconds."""

SYSTEM_MEMORY = Path("/proc/meminfo")
GROUP_MEMORY = Path("/sys/fs/cgroup")
"""Of a container, where it has a limit."""


def free_main_memory() -> int | None:
    """Bytes of main memory that this process may still take; None where the system does not say."""
    known = [left for left in (_left_to_system(), _left_to_group()) if left is not None]
    return min(known, default=None)


def _left_to_system() -> int | None:
    available_kb = _number(SYSTEM_MEMORY, r"^MemAvailable:\s*(\d+) kB")
    return None if available_kb is None else 1024 * available_kb


def _left_to_group() -> int | None:
    """What lies in pages of files does not count: the system drops those."""
    limit = _number(GROUP_MEMORY / "memory.max", r"^(\d+)$")
    taken = _number(GROUP_MEMORY / "memory.stat", r"^anon (\d+)$")
    return None if limit is None or taken is None else max(0, limit - taken)


def _number(path: Path, pattern: str) -> int | None:
    """The first number in a file that `pattern` finds."""
    try:
        found = re.search(pattern, path.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) if found else None
