"""The whole way once, as a caller sees it: build, start, POST a picture, wait for the STL, look at it, tear down.

    python test_docker_simulation.py            in containers; with the card, where Docker has one
    python test_docker_simulation.py --cpu      in containers, without a card
    python test_docker_simulation.py --local    without Docker: the service as a process of this Python

Needs nothing but Python 3.11: the other side of the test (a picture to download, a webhook on port 9999 of this
machine) is here too. Ends with status 0 when all is well, 1 when something was wrong, 2 when it could not begin.
Knows the service by its HTTP contract alone.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import queue
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email import message_from_bytes, message_from_string
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent
SAMPLE_PICTURE = REPOSITORY / "examples" / "pictures" / "vase.png"
TINY_MODEL = "models/tiny/tiny.safetensors"
PUBLISHED_MODEL = "models/hunyuan3d-dit-v2-0/model.fp16.safetensors"
PROJECT = "ai-engine-simulation"
OLDEST_COMPOSE = (2, 24, 4)
SESSION_ID, ASSET_ID, SEED = "simulation", "vase-1", 1

ON_THIS_MACHINE_ALONE = {
    "BIND_ADDRESS": "127.0.0.1",
    "PUBLISHED_ADDRESS": "",
    "API_KEYS": "",
    "API_KEYS_FILE": "",
}
"""Whatever .env says: nobody else reaches the service under test, so it needs no keys."""
READY_WITHIN_S = 600.0
STOP_WITHIN_S = 60.0
LOOK_EVERY_S = 0.5
FLATTEST = 0.05
"""A mesh whose thinnest side is below this share of its longest is a wall, not an object."""
LOG_LINES = 40
OK, WRONG, NOT_BEGUN = 0, 1, 2


class CannotBegin(Exception):
    """Something that the test needs is missing; the message says what, and what to do."""


class Wrong(Exception):
    """The service did not do what it promises."""


# The other side: a picture to download, a webhook to deliver to.


@dataclass(frozen=True)
class Delivery:
    """One webhook in multipart form: its text parts by name, and its file."""

    values: dict[str, str]
    file_name: str | None
    media_type: str | None
    file: bytes


@dataclass(frozen=True)
class Receiver:
    """A server that gives the picture to whoever asks, and keeps what is delivered."""

    port: int
    deliveries: queue.Queue[Delivery] = field(default_factory=queue.Queue)


@contextmanager
def receiver(picture: bytes, host: str, port: int) -> Generator[Receiver]:
    """A receiver on that address while the block runs; port 0 takes a free one."""
    try:
        server = ThreadingHTTPServer((host, port), BaseHTTPRequestHandler)
    except OSError as error:
        raise CannotBegin(f"port {port} is taken ({error}); try --receiver-port with another") from error
    with server:
        this = Receiver(server.server_port)
        server.RequestHandlerClass = _handler(picture, this)
        threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()
        try:
            yield this
        finally:
            server.shutdown()


def _handler(picture: bytes, this: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(200 if self.path == "/picture.png" else 404, picture)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self._answer(200, b"")
            this.deliveries.put(read_multipart(self.headers.get("Content-Type", ""), body))

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "image/png")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def read_multipart(content_type: str, body: bytes) -> Delivery:
    """The parts of a `multipart/form-data` body."""
    boundary = message_from_string(f"Content-Type: {content_type}\n\n").get_boundary() or ""
    values: dict[str, str] = {}
    file_name, media_type, file = None, None, b""
    for part in (b"\r\n" + body).split(b"\r\n--" + boundary.encode())[1:-1]:
        head, _, content = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        fields = message_from_bytes(head + b"\r\n\r\n")
        if fields.get_filename():
            file_name, media_type, file = fields.get_filename(), fields.get_content_type(), content
        else:
            values[str(fields.get_param("name", header="content-disposition"))] = content.decode()
    return Delivery(values, file_name, media_type, file)


# The mesh that came.


@dataclass(frozen=True)
class MeshFacts:
    """What a binary STL file shows when its corners are welded by their exact coordinates."""

    num_faces: int
    sides: tuple[float, float, float]
    """Lengths of the bounding box along x, y, z."""
    volume: float
    """Signed: positive when the faces look outward."""
    is_closed: bool
    """Every edge is crossed as often in one direction as in the other."""


def read_stl(file: bytes) -> MeshFacts:
    """The facts of a binary STL file.

    Raises:
        Wrong: the file is no binary STL, or cut short.
    """
    if len(file) < 84:
        raise Wrong(f"the STL file has {len(file)} bytes")
    (num_faces,) = struct.unpack_from("<I", file, 80)
    if num_faces == 0 or len(file) != 84 + 50 * num_faces:
        raise Wrong(f"the STL file tells of {num_faces} triangles and has {len(file)} bytes")
    corner_of: dict[bytes, int] = {}
    edges: Counter[tuple[int, int]] = Counter()
    for face in range(num_faces):
        at = 84 + 50 * face + 12
        a, b, c = (
            corner_of.setdefault(file[at + step : at + step + 12], len(corner_of)) for step in (0, 12, 24)
        )
        edges.update(((a, b), (b, c), (c, a)))
    is_closed = all(count == edges.get((end, begin), 0) for (begin, end), count in edges.items())
    points = [struct.unpack("<3f", corner) for corner in corner_of]
    sides = [max(axis) - min(axis) for axis in zip(*points, strict=True)]
    return MeshFacts(num_faces, (sides[0], sides[1], sides[2]), _volume(file, num_faces), is_closed)


def _volume(file: bytes, num_faces: int) -> float:
    total = 0.0
    for face in range(num_faces):
        ax, ay, az, bx, by, bz, cx, cy, cz = struct.unpack_from("<9f", file, 84 + 50 * face + 12)
        total += ax * (by * cz - bz * cy) + ay * (bz * cx - bx * cz) + az * (bx * cy - by * cx)
    return total / 6


def checks(delivery: Delivery, job_id: str) -> list[tuple[bool, str]]:
    """What was looked at in a delivery: whether it is right, and what it is.

    Raises:
        Wrong: there is nothing to look at.
    """
    values = delivery.values
    if values.get("status") != "completed":
        raise Wrong(f"the job failed: {values.get('error')} ({values.get('code')})")
    told = json.loads(values["event"])["data"]
    artifact, report, mesh = told["artifact"], told["print"], read_stl(delivery.file)
    names = (values.get("session_id"), values.get("asset_id"), values.get("job_id"), delivery.file_name)
    return [
        (names == (SESSION_ID, ASSET_ID, job_id, f"{ASSET_ID}.stl"), f"names: {', '.join(map(str, names))}"),
        (delivery.media_type == "model/stl", f"media type: {delivery.media_type}"),
        (artifact["size"] == len(delivery.file), f"size: {len(delivery.file):,} bytes"),
        (artifact["sha256"] == hashlib.sha256(delivery.file).hexdigest(), f"sha256: {artifact['sha256']}"),
        (artifact["faces"] == mesh.num_faces, f"triangles: {mesh.num_faces:,}"),
        (mesh.is_closed and mesh.volume > 0, f"closed, outside out: volume {mesh.volume:.4f}"),
        (
            min(mesh.sides) > FLATTEST * max(mesh.sides),
            "not flat: {:.3f} x {:.3f} x {:.3f}".format(*mesh.sides),
        ),
        (report["watertight"] is True, f"report: {json.dumps(report)}"),
    ]


# The service, in its two forms.


@dataclass(frozen=True)
class Service:
    """A service that was started: where it is, and how to ask how it does."""

    url: str
    caller_host: str
    """The name by which the service finds this machine."""
    is_alive: Callable[[], bool]
    log: Callable[[], str]


@contextmanager
def local_service(options: argparse.Namespace, receiver_port: int) -> Generator[Service]:
    """`main.py serve` as a process group of its own, with a data folder that is thrown away."""
    port = options.port or _free_port()
    with tempfile.TemporaryDirectory(prefix="ai-engine-", ignore_cleanup_errors=True) as folder:
        log_path = Path(folder) / "service.log"
        ours = {"DATA_DIR": str(Path(folder) / "data"), "PROFILE": "development", "LOG_FORMAT": "text"}
        command = [
            _python(),
            str(REPOSITORY / "main.py"),
            "serve",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
        ]
        with log_path.open("wb") as log:
            process = _own_group(command, {**os.environ, **ours, **ON_THIS_MACHINE_ALONE}, log)
        try:
            yield Service(
                f"http://127.0.0.1:{port}",
                "127.0.0.1",
                lambda: process.poll() is None,
                lambda: _last_lines(log_path.read_text(errors="replace")),
            )
        finally:
            _end(process, options.keep)


def _python() -> str:
    """This Python if it has what the service needs, else that of .venv."""
    in_venv = REPOSITORY / ".venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    for python in (sys.executable, str(in_venv)):
        probe = [
            python,
            "-c",
            "import importlib.util as u, sys; sys.exit(not all(map(u.find_spec, ['torch', 'dbos'])))",
        ]
        if shutil.which(python) and subprocess.run(probe, capture_output=True, check=False).returncode == 0:
            return python
    raise CannotBegin(
        "this Python can't run the service: its packages are not installed.\n"
        "  pip install torch==2.13.0 && pip install -r requirements.txt     (or `make demo`, which makes .venv)"
    )


def _own_group(command: Sequence[str], env: dict[str, str], log: Any) -> subprocess.Popen[bytes]:
    new_group = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
    return subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        creationflags=new_group,
        start_new_session=os.name != "nt",
    )


def _end(process: subprocess.Popen[bytes], keep: bool) -> None:
    if keep:
        print("left running until Ctrl-C")
        with suppress(KeyboardInterrupt):
            process.wait()
    begun_at = time.monotonic()
    if process.poll() is None:
        process.send_signal(getattr(signal, "CTRL_BREAK_EVENT", signal.SIGTERM))
    try:
        status = process.wait(STOP_WITHIN_S)
        print(f"stopped with status {status} after {time.monotonic() - begun_at:.1f} s")
    except subprocess.TimeoutExpired:
        process.kill()
        print(f"did not stop within {STOP_WITHIN_S:.0f} s; killed")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def docker_service(options: argparse.Namespace, receiver_port: int) -> Generator[Service]:
    """The containers of docker-compose.yml, as a project of their own."""
    require_docker()
    port = options.port or 8000
    files = ["-f", "docker-compose.yml", *(["-f", "docker-compose.cpu.yml"] if _wants_cpu(options) else [])]
    compose = ["docker", "compose", "--project-name", PROJECT, *files]
    env = {**os.environ, **_docker_settings(port, receiver_port)}

    def run(*words: str, **how: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*compose, *words], cwd=REPOSITORY, env=env, text=True, check=False, **how)

    begun_at = time.monotonic()
    try:
        if run("up", "--detach", *(["--no-build"] if options.no_build else ["--build"])).returncode != 0:
            raise Wrong(
                "`docker compose up` failed; its own words are above.\n"
                '  If they name the device driver "nvidia": install the NVIDIA Container Toolkit, or try --cpu'
            )
        print(f"built and started after {time.monotonic() - begun_at:.1f} s")
        yield Service(
            f"http://127.0.0.1:{port}",
            "host.docker.internal",
            lambda: bool(run("ps", "--quiet", "--status", "running", capture_output=True).stdout.strip()),
            lambda: run("logs", "--tail", str(LOG_LINES), capture_output=True).stdout,
        )
    finally:
        if options.keep:
            print(f"left running; to stop it: {' '.join(compose)} down --volumes")
        else:
            run("down", "--volumes", "--timeout", "45")


def _docker_settings(port: int, receiver_port: int) -> dict[str, str]:
    """What docker-compose.yml is told; the embedded model unless the published one is there."""
    here = f"host.docker.internal:{receiver_port}"
    settings = {
        **ON_THIS_MACHINE_ALONE,
        # No such file, instead of .env: that may name a database and a bucket that others use.
        "SETTINGS_FILE": "none",
        "PUBLISHED_PORT": str(port),
        "ALLOWED_PRIVATE_DOWNLOAD_HOSTS": here,
        "ALLOWED_PRIVATE_WEBHOOK_HOSTS": here,
    }
    if not (REPOSITORY / os.environ.get("MODEL_PATH", PUBLISHED_MODEL)).is_file():
        settings |= {"MODEL_PATH": TINY_MODEL, "MATTING_MODEL": "tiny"}
    return settings


def _wants_cpu(options: argparse.Namespace) -> bool:
    if options.cpu:
        return True
    has_card = bool(shutil.which("nvidia-smi")) and _says("nvidia-smi", "--list-gpus") != ""
    if not has_card:
        print("no NVIDIA card here: docker-compose.cpu.yml is laid over")
    return not has_card


def require_docker() -> None:
    """Nothing, if Docker and a new enough compose are here and answer.

    Raises:
        CannotBegin: they do not; the message says what to do.
    """
    instead = f"Without Docker: python {Path(__file__).name} --local"
    if shutil.which("docker") is None:
        raise CannotBegin(
            "Docker is not installed (there is no `docker` on the PATH).\n"
            "  Install Docker Desktop (Windows, macOS) or Docker Engine (Linux): "
            f"https://docs.docker.com/get-docker\n  {instead}"
        )
    if not _says("docker", "info", "--format", "{{.ServerVersion}}"):
        raise CannotBegin(
            "Docker is installed, but its daemon does not answer.\n"
            "  Start Docker Desktop, or on Linux: sudo systemctl start docker (and be in the group docker).\n"
            f"  {instead}"
        )
    version = _says("docker", "compose", "version", "--short")
    if _numbers(version) < OLDEST_COMPOSE:
        needed = ".".join(map(str, OLDEST_COMPOSE))
        raise CannotBegin(
            f"`docker compose` {version or 'is missing'}; {needed} or newer is needed.\n"
            f"  It comes with Docker Desktop; on Linux install the package docker-compose-plugin.\n  {instead}"
        )


def _numbers(version: str) -> tuple[int, ...]:
    first = version.strip().lstrip("v").split("-")[0].split("+")[0]
    return tuple(int(part) for part in first.split(".") if part.isdigit())


def _says(*command: str) -> str:
    """What a command prints; nothing when it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


# The way of one job.


def wait_until_ready(service: Service) -> None:
    """Returns once the service takes work, and tells of its states meanwhile.

    Raises:
        Wrong: it died, failed, or took too long.
    """
    begun_at, told = time.monotonic(), ""
    while time.monotonic() - begun_at < READY_WITHIN_S:
        status, answer = ask(f"{service.url}/readyz")
        state = answer.get("status", "no answer yet") if isinstance(answer, dict) else "no answer yet"
        if state != told:
            print(f"  {time.monotonic() - begun_at:6.1f} s  {state}", flush=True)
            told = state
        if status == 200:
            return
        if state == "failed" or not service.is_alive():
            raise Wrong(f"the service did not get ready: {state}")
        time.sleep(LOOK_EVERY_S)
    raise Wrong(f"the service was not ready within {READY_WITHIN_S:.0f} s")


def submit(service: Service, receiver_port: int, wishes: dict[str, Any]) -> str:
    """The id of a job that turns the picture into a mesh for the webhook.

    Raises:
        Wrong: the service refused it.
    """
    origin = f"http://{service.caller_host}:{receiver_port}"
    names = {"session_id": SESSION_ID, "asset_id": ASSET_ID}
    urls = {"image_url": f"{origin}/picture.png", "webhook_url": f"{origin}/webhook"}
    how = {"webhook_format": "multipart", "seed": SEED}
    status, answer = ask(f"{service.url}/generate-3d", {**names, **urls, **how, **wishes})
    if status != 202:
        raise Wrong(f"the service refused the job with {status}: {answer}")
    print(f"accepted: job {answer['job_id']}")
    return str(answer["job_id"])


def wait_for_delivery(service: Service, peer: Receiver, job_id: str, within_s: float) -> Delivery:
    """What the webhook got.

    Raises:
        Wrong: nothing came in time.
    """
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            return peer.deliveries.get(timeout=LOOK_EVERY_S)
        except queue.Empty:
            if not service.is_alive():
                raise Wrong("the service ended while it had the job") from None
    _, job = ask(f"{service.url}/jobs/{job_id}")
    raise Wrong(
        f"no webhook came within {within_s:.0f} s. The job says: {json.dumps(job)}\n"
        "  On Linux a firewall may keep containers from this machine's port."
    )


def ask(url: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
    """Status and JSON of an answer; status 0 and no words when nobody answers."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    # What is asked here is on this machine: no proxy of the environment lies between.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, _json_or_text(error.read())
    except (OSError, ValueError):
        return 0, None


def _json_or_text(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body.decode(errors="replace")


def _last_lines(text: str) -> str:
    return "\n".join(text.splitlines()[-LOG_LINES:])


def _picture(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CannotBegin(f"the picture can't be read: {error}") from error


def simulate(options: argparse.Namespace) -> None:
    """The whole way once.

    Raises:
        CannotBegin: something is missing here.
        Wrong: the service did not do what it promises.
    """
    picture = _picture(options.image)
    start = local_service if options.local else docker_service
    host = "127.0.0.1" if options.local else "0.0.0.0"
    with receiver(picture, host, options.receiver_port) as peer, start(options, peer.port) as service:
        try:
            _one_job(options, service, peer)
        except Wrong:
            print(f"--- last lines of the service's log\n{service.log()}\n---")
            raise


def _one_job(options: argparse.Namespace, service: Service, peer: Receiver) -> None:
    begun_at = time.monotonic()
    wait_until_ready(service)
    print(f"ready after {time.monotonic() - begun_at:.1f} s; {json.dumps(ask(service.url + '/health')[1])}")
    posted_at = time.monotonic()
    wishes = {} if options.octree_resolution is None else {"octree_resolution": options.octree_resolution}
    job_id = submit(service, peer.port, wishes)
    delivery = wait_for_delivery(service, peer, job_id, options.job_timeout)
    print(f"delivered {time.monotonic() - posted_at:.1f} s after the POST")
    found = checks(delivery, job_id)
    for is_right, what in found:
        print(f"  {'ok   ' if is_right else 'WRONG'}  {what}")
    if options.output is not None:
        options.output.mkdir(parents=True, exist_ok=True)
        (options.output / f"{ASSET_ID}.stl").write_bytes(delivery.file)
        print(f"written: {options.output / ASSET_ID}.stl")
    if not all(is_right for is_right, _ in found):
        raise Wrong("the delivery is not right, see above")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the test; the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--local", action="store_true", help="a process instead of containers")
    parser.add_argument("--cpu", action="store_true", help="containers without a card, whatever is there")
    parser.add_argument("--keep", action="store_true", help="leave the service running")
    parser.add_argument("--no-build", action="store_true", help="containers from the image that is there")
    parser.add_argument("--image", type=Path, default=SAMPLE_PICTURE, help="a picture of yours")
    parser.add_argument("--output", type=Path, help="folder for the STL file")
    parser.add_argument("--port", type=int, help="the service's port (8000; --local takes a free one)")
    parser.add_argument("--receiver-port", type=int, default=9999, help="the receiver's port, 9999")
    parser.add_argument("--octree-resolution", type=int, help="cells a side, fewer are quicker")
    parser.add_argument("--job-timeout", type=float, default=1800.0, help="seconds to wait for the mesh")
    try:
        simulate(parser.parse_args(arguments))
    except CannotBegin as missing:
        print(f"CAN'T BEGIN: {missing}", file=sys.stderr)
        return NOT_BEGUN
    except Wrong as wrong:
        print(f"WRONG: {wrong}", file=sys.stderr)
        return WRONG
    print("ALL WELL")
    return OK


if __name__ == "__main__":
    sys.exit(main())
