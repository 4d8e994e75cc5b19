"""The example Worker installs the same everywhere; tests/service/test_cloudflare_worker.py runs it."""

from __future__ import annotations

import json
import re
from pathlib import Path

EXAMPLE = Path(__file__).parents[3] / "examples" / "cloudflare-worker"
WANTED = json.loads((EXAMPLE / "package.json").read_text())["devDependencies"]
LOCKED = json.loads((EXAMPLE / "package-lock.json").read_text())["packages"]


def test_every_package_is_wanted_in_one_exact_version_and_locked_to_it() -> None:
    assert all(re.fullmatch(r"[0-9][0-9A-Za-z.-]*", version) for version in WANTED.values())
    assert {name: LOCKED[f"node_modules/{name}"]["version"] for name in WANTED} == WANTED
    assert LOCKED[""]["devDependencies"] == WANTED


def test_the_lock_file_checks_every_package_and_names_no_registry() -> None:
    packages = {name: package for name, package in LOCKED.items() if name}

    assert all(package["integrity"].startswith("sha512-") for package in packages.values())
    assert not [name for name, package in packages.items() if "resolved" in package]


def test_the_worker_and_the_studio_read_the_service_by_one_set_of_types() -> None:
    schema = (EXAMPLE / "src" / "api_schema.ts").read_text()

    assert schema == (EXAMPLE.parents[1] / "studio" / "src" / "api_schema.ts").read_text(), (
        "run `make studio`"
    )
    assert "WebhookEvent: {" in schema
    assert 'from "./api_schema"' in (EXAMPLE / "src" / "event.ts").read_text()
