"""The service that the demo starts: `serve` in a process and a data folder of its own."""

from __future__ import annotations

import base64
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

from ai_engine.cli.doctor import print_problems
from ai_engine.settings import Settings

REPOSITORY = Path(__file__).resolve().parents[2]
READY_WITHIN_S = 600.0
STOP_WITHIN_S = 45.0
LOOK_EVERY_S = 0.1
LOG_LINES = 30
OUR_PROBES = "path=/readyz"
MODEL_SETTINGS = frozenset(
    {"model_path", "model_variant", "device", "dtype", "require_gpu", "matting_model", "matting_home"}
)
"""What the demo takes over from the environment; all else is its own."""


class DemoFailed(Exception):
    """Something is off; the message says what, in words for the person at the terminal."""


@dataclass(frozen=True)
class DemoService:
    """The service under demonstration."""

    client: httpx2.Client
    process: subprocess.Popen[bytes]
    data_dir: Path
    log_path: Path
    webhook_secret: str


@contextmanager
def running_service() -> Generator[DemoService]:
    """The service, starting; stopped and its folder removed at the end.

    Raises:
        DemoFailed: with the last lines of its log, if what is done with it fails.
    """
    with tempfile.TemporaryDirectory(prefix="ai-engine-demo-", ignore_cleanup_errors=True) as folder:
        log_path, port = Path(folder) / "service.log", _free_port()
        secret = "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()
        settings = {"HOST": "127.0.0.1", "PORT": str(port), "DATA_DIR": folder, "WEBHOOK_SECRET": secret}
        settings["LOG_FORMAT"] = "text"
        print_problems(Settings(host="127.0.0.1", port=port, data_dir=Path(folder)))
        command = [sys.executable, str(REPOSITORY / "main.py"), "serve"]
        print(f"starting the service on http://127.0.0.1:{port}")
        with (
            log_path.open("wb") as log,
            httpx2.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30) as client,
            subprocess.Popen(
                command, cwd=REPOSITORY, env=_environment() | settings, stdout=log, stderr=subprocess.STDOUT
            ) as process,
        ):
            try:
                yield DemoService(client, process, Path(folder), log_path, secret)
            except (DemoFailed, httpx2.HTTPError) as error:
                raise DemoFailed(f"{error}\n\nthe service's last lines:\n{_last_lines(log_path)}") from error
            finally:
                _stop(process)


def _environment() -> dict[str, str]:
    """The environment without the service's settings, but for those that name the models."""
    ours = {name for name in Settings.model_fields if name not in MODEL_SETTINGS}
    return {name: value for name, value in os.environ.items() if name.lower() not in ours}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()


def _last_lines(log_path: Path) -> str:
    lines = log_path.read_text(errors="replace").splitlines()
    return "\n".join([line for line in lines if OUR_PROBES not in line][-LOG_LINES:])


def wait_until_ready(service: DemoService) -> None:
    """Waits until the service takes jobs.

    Raises:
        DemoFailed: it ended, its model can't be loaded, or it took longer than READY_WITHIN_S.
    """
    begun_at, deadline = time.monotonic(), time.monotonic() + READY_WITHIN_S
    state = "starting"
    while time.monotonic() < deadline:
        if service.process.poll() is not None:
            raise DemoFailed(f"the service ended with status {service.process.returncode}")
        state = _state(service.client)
        if state == "ready":
            print(f"ready after {time.monotonic() - begun_at:.1f} s\n")
            return
        if state == "failed":
            break
        time.sleep(LOOK_EVERY_S)
    raise DemoFailed(f"the service did not get ready: {state}")


def _state(client: httpx2.Client) -> str:
    try:
        answer = client.get("/readyz").json()
        return (
            f"{answer['status']} {answer['progress']:.0%}" if "progress" in answer else str(answer["status"])
        )
    except (httpx2.HTTPError, ValueError, KeyError):
        return "starting"
