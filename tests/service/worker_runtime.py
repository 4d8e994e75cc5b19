"""The example Worker, installed from its lock file, checked, bundled, and run on the real Workers runtime."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from service.house import ROOT

EXAMPLE = ROOT / "examples" / "cloudflare-worker"
HOST = Path(__file__).with_name("worker_host.mjs")
OLDEST_NODE = (20, 3)
QUIET = {"WRANGLER_SEND_METRICS": "false", "CI": "1", "NO_COLOR": "1", "NPM_CONFIG_UPDATE_NOTIFIER": "false"}
INSTALL_WITHIN_S = 600


@dataclass(frozen=True)
class Installed:
    """A copy of the example with its packages."""

    folder: Path

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """What a program of the installed packages said."""
        program = str(self.folder / "node_modules" / ".bin" / command[0])
        return subprocess.run(
            [program, *command[1:]],
            cwd=self.folder,
            env=os.environ | QUIET | {"HOME": str(self.folder)},
            capture_output=True,
            text=True,
            timeout=INSTALL_WITHIN_S,
        )

    def bundle(self) -> Path:
        """The Worker as one file, as `wrangler deploy` would upload it."""
        done = self.run("wrangler", "deploy", "--dry-run", "--outdir", "bundle")
        assert done.returncode == 0, done.stdout + done.stderr
        return self.folder / "bundle" / "index.js"


def installed(cache: Path) -> Installed:
    """The example in a folder below `cache`, made once for each lock file; skips where there is no Node.js."""
    _check_node()
    lock = (EXAMPLE / "package-lock.json").read_bytes()
    folder = cache / hashlib.sha256(lock).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / "install.lock"):
        if not (folder / "node_modules" / ".complete").exists():
            _install(folder)
        for name in ("src", "tsconfig.json", "wrangler.jsonc"):
            _copy(EXAMPLE / name, folder / name)
    return Installed(folder)


def _check_node() -> None:
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("Node.js and npm are not on this machine")
    version = subprocess.run(["node", "--version"], capture_output=True, text=True).stdout.strip()
    if tuple(int(part) for part in version.lstrip("v").split(".")[:2]) < OLDEST_NODE:
        pytest.skip(f"Node.js {version} is too old for the Workers runtime")


def _install(folder: Path) -> None:
    for name in ("package.json", "package-lock.json"):
        shutil.copy(EXAMPLE / name, folder / name)
    done = subprocess.run(
        ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
        cwd=folder,
        env=os.environ | QUIET,
        capture_output=True,
        text=True,
        timeout=INSTALL_WITHIN_S,
    )
    if done.returncode != 0 and "CI" not in os.environ and "network" in done.stderr:
        pytest.skip("the npm registry can't be reached")
    assert done.returncode == 0, done.stderr
    (folder / "node_modules" / ".complete").touch()


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target)
    else:
        shutil.copy(source, target)


class WorkerRuntime:
    """One running Worker and its bucket."""

    def __init__(self, example: Installed, script: Path, bindings: dict[str, str]) -> None:
        (date,) = re.findall(r'"compatibility_date": "([0-9-]+)"', (EXAMPLE / "wrangler.jsonc").read_text())
        self._process = subprocess.Popen(
            ["node", str(HOST), str(example.folder), str(script), date, json.dumps(bindings)],
            cwd=script.parent,  # the runtime reads modules below its own folder only
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.url: str = self._told()["url"]

    def put(self, key: str, content: bytes, content_type: str) -> None:
        """Lays an object into the bucket."""
        self._ask({"put": key, "base64": b64encode(content).decode(), "contentType": content_type})

    def get(self, key: str) -> dict[str, Any] | None:
        """What lies there now: `size`, `sha256`, `version` (another one after each write), `text` of small ones."""
        return self._ask({"get": key})

    def close(self) -> None:
        """Ends the runtime."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _ask(self, what: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()
        return self._told()

    def _told(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"the Workers runtime ended with status {self._process.wait(30)}"
        return json.loads(line)
