"""The studio's files over HTTP, and that they are what its source builds."""

from __future__ import annotations

import gzip
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from ai_engine.api.app import create_app
from ai_engine.settings import Settings
from ai_engine.web.studio_routes import FOLDER, studio_files

SOURCE = Path(__file__).resolve().parents[4] / "studio"
MAX_PACKED_BYTES = 225_000


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    return TestClient(create_app(Settings(data_dir=tmp_path)))


def test_the_page_and_all_that_it_names_are_served(client: TestClient) -> None:
    page = client.get("/")

    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    named = re.findall(r'(?:src|href)="(/[^"]+)"', page.text)
    assert {"/studio/studio.js", "/studio/style.css", "/studio/icon.svg"} <= set(named)
    assert {client.get(path).status_code for path in named} == {200}


def test_the_page_for_operators_and_all_that_it_names_are_served(client: TestClient) -> None:
    page = client.get("/operate")

    named = re.findall(r'(?:src|href)="(/[^"]+)"', page.text)
    assert {"/studio/operate.js", "/studio/style.css"} <= set(named)
    assert {client.get(path).status_code for path in named} == {200}
    assert "script-src 'self'" in page.headers["content-security-policy"]


def test_the_page_may_load_nothing_from_elsewhere(client: TestClient) -> None:
    policy = client.get("/").headers["content-security-policy"]

    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy


def test_a_file_that_did_not_change_is_not_sent_again(client: TestClient) -> None:
    first = client.get("/studio/studio.js")
    again = client.get("/studio/studio.js", headers={"If-None-Match": first.headers["etag"]})

    assert (again.status_code, again.content) == (304, b"")
    assert first.headers["cache-control"] == "no-cache"


def test_who_takes_gzip_gets_it_and_who_does_not_gets_the_same_file(client: TestClient) -> None:
    packed = client.get("/studio/style.css", headers={"Accept-Encoding": "gzip"})
    plain = client.get("/studio/style.css", headers={"Accept-Encoding": "identity"})

    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.content == plain.content == (FOLDER / "style.css").read_bytes()


@pytest.mark.parametrize("name", ["nothing.js", "..%2fsettings.py", "%2e%2e/settings.py"])
def test_nothing_but_its_own_files_is_served(client: TestClient, name: str) -> None:
    answer = client.get(f"/studio/{name}")

    assert answer.status_code == 404
    assert answer.json()["code"] == "not_found"


def test_the_studio_is_off_where_it_is_not_wanted(tmp_path: Path) -> None:
    client = TestClient(create_app(Settings(data_dir=tmp_path, studio=False)))

    assert client.get("/").status_code == 404
    assert client.get("/studio/studio.js").status_code == 404


def test_everything_together_is_small() -> None:
    assert sum(len(gzip.compress(file.plain)) for file in studio_files().values()) < MAX_PACKED_BYTES


def test_the_licences_of_what_is_in_the_bundle_go_with_it() -> None:
    text = (FOLDER / "LICENCES.txt").read_text()

    assert "three 0." in text
    assert "Permission is hereby granted" in text
    assert "SIL OPEN FONT LICENSE" in text


def test_the_committed_bundle_is_what_the_source_builds(tmp_path: Path) -> None:
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        pytest.skip("there is no npm")
    copy = tmp_path / "studio"
    shutil.copytree(SOURCE, copy, ignore=shutil.ignore_patterns("node_modules"))
    install = subprocess.run([npm, "ci", "--no-audit", "--no-fund"], cwd=copy, capture_output=True, text=True)
    if install.returncode != 0:
        pytest.skip(f"npm ci got no packages: {install.stderr.strip()[-200:]}")

    subprocess.run([npm, "run", "types"], cwd=copy, capture_output=True, check=True)
    types = Path("src") / "api_schema.ts"
    assert (copy / types).read_bytes() == (SOURCE / types).read_bytes(), "run `make studio`"
    subprocess.run([npm, "run", "check"], cwd=copy, capture_output=True, text=True, check=True)
    subprocess.run([node, "build.mjs", str(tmp_path / "built")], cwd=copy, capture_output=True, check=True)

    built = {path.name: path.read_bytes() for path in (tmp_path / "built").iterdir()}
    assert built.keys() == {path.name for path in FOLDER.iterdir()}
    different = [name for name, data in built.items() if data != (FOLDER / name).read_bytes()]
    assert different == [], "run `make studio` and commit what it built"


def test_the_schemas_that_the_pages_types_are_made_of_are_those_of_the_service() -> None:
    printed = subprocess.run(
        [sys.executable, "schemas.py"], cwd=SOURCE, capture_output=True, text=True, check=True
    ).stdout

    assert (SOURCE / "openapi.json").read_text() == printed, "run `make studio` and commit what it built"


def test_no_file_of_the_pages_source_imports_itself_by_way_of_others() -> None:
    found = {path.stem: _imports(path.read_text()) for path in (SOURCE / "src").glob("*.ts")}
    while leaves := {name for name, needed in found.items() if not needed & found.keys()}:
        found = {name: needed for name, needed in found.items() if name not in leaves}

    assert len(_imports((SOURCE / "src" / "main.ts").read_text())) > 10
    assert found == {}, "these files import each other in a circle"


def _imports(source: str) -> set[str]:
    return set(re.findall(r'from "\./(\w+)"', source))


def test_the_lock_file_names_no_machine() -> None:
    assert '"resolved"' not in (SOURCE / "package-lock.json").read_text()
