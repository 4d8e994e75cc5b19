from __future__ import annotations

import socket
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.slicing import program

from ai_engine.cli import doctor
from ai_engine.cli.doctor import run_doctor
from ai_engine.cli.model_checks import Check, Finding
from ai_engine.settings import Settings


def settings(tmp_path: Path, **changes: object) -> Settings:
    return Settings(**{"data_dir": tmp_path, "model_variant": "stand-in", "port": 0, **changes})  # type: ignore[arg-type]


def findings(check: Check, chosen: Settings) -> list[Finding]:
    return list(check(chosen))


def test_a_sound_set_up_has_nothing_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_doctor(settings(tmp_path, matting_model="none")) == 0
    lines = capsys.readouterr().out.strip().splitlines()
    assert lines[-1] == "all is well"
    assert all(line.startswith("ok  ") for line in lines[:-2])
    assert list(tmp_path.iterdir()) == []


def test_one_thing_to_do_makes_the_exit_status_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = settings(tmp_path, matting_model="isnet-general-use", matting_home=tmp_path / "nowhere")
    assert run_doctor(chosen) == 1
    said = capsys.readouterr().out
    assert "!!  matting model 'isnet-general-use': there is no file" in said
    assert str(tmp_path / "nowhere" / "isnet-general-use.onnx") in said
    assert "1 to do" in said


def test_a_package_of_another_version_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "requirements.txt").write_text("numpy==0.1  # old\nno-such-package[x]==1.0\npytest==9.2.0\n")
    monkeypatch.setattr(doctor, "REQUIREMENTS", tmp_path / "requirements.txt")
    texts = [finding.text for finding in findings(doctor._packages, settings(tmp_path)) if finding.remedy]
    assert texts[0].startswith("numpy: ")
    assert texts[0].endswith("wanted 0.1")
    assert texts[1] == "no-such-package: not installed, wanted 1.0"


def test_a_data_folder_that_is_a_file_is_found(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (wrong,) = findings(doctor._data_folder, settings(tmp_path, data_dir=tmp_path / "file"))
    assert wrong.remedy is not None


def test_little_room_on_the_disk_is_found(tmp_path: Path) -> None:
    chosen = settings(tmp_path, min_free_disk_bytes=10**18)
    assert findings(doctor._data_folder, chosen)[1].remedy is not None


def test_a_damaged_database_is_found(tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    assert findings(doctor._database, chosen)[0].remedy is None
    sqlite3.connect(tmp_path / "jobs.sqlite").close()
    assert findings(doctor._database, chosen)[0].remedy is None
    (tmp_path / "jobs.sqlite").write_bytes(b"no database at all" * 100)
    found = list(doctor._run_check(doctor._database, chosen))
    assert found[0].remedy is not None


def test_a_database_server_that_is_not_there_is_found_and_its_password_not_shown(tmp_path: Path) -> None:
    (wrong,) = doctor._run_check(
        doctor._database, settings(tmp_path, database_url="postgresql://me:secret@127.0.0.1:1/jobs")
    )
    assert wrong.remedy is not None
    assert "secret" not in str(wrong)


def test_a_port_that_is_taken_is_found(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        (wrong,) = findings(doctor._port, settings(tmp_path, port=listener.getsockname()[1]))
    assert "PORT" in (wrong.remedy or "")


def test_private_hosts_are_tried(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        chosen = settings(tmp_path, allowed_private_webhook_hosts=f"127.0.0.1:{port},127.0.0.1:1")
        remedies = {
            found.text.split(" ")[0]: found.remedy for found in findings(doctor._private_hosts, chosen)
        }
    assert remedies[f"127.0.0.1:{port}"] is None
    assert remedies["127.0.0.1:1:"] is not None


def test_exceptions_that_can_not_be_read_are_found(tmp_path: Path) -> None:
    (wrong,) = findings(doctor._addresses, settings(tmp_path, allowed_private_download_hosts="nas"))
    assert "host:port" in (wrong.remedy or "")


@pytest.mark.parametrize(("host", "profile"), [("127.0.0.1", "development"), ("0.0.0.0", "production")])
def test_the_profile_is_told(tmp_path: Path, host: str, profile: str) -> None:
    first = findings(doctor._addresses, settings(tmp_path, host=host))[0]
    assert profile in first.text
    assert first.remedy is None


def test_a_check_that_stumbles_is_one_finding(tmp_path: Path) -> None:
    def _stumbling(_: Settings) -> Iterator[Finding]:
        yield Finding("so far so good")
        raise RuntimeError("oh")

    found = list(doctor._run_check(_stumbling, settings(tmp_path)))
    assert [finding.remedy is None for finding in found] == [True, False]
    assert "stumbling: RuntimeError: oh" in found[1].text


def test_a_bucket_that_can_not_be_reached_is_something_to_do(tmp_path: Path) -> None:
    nowhere = {"artifacts_url": "s3://b/p", "artifacts_endpoint_url": "http://127.0.0.1:9"}
    (wrong,) = findings(doctor._file_store, settings(tmp_path, **nowhere))
    assert "ARTIFACTS_URL s3://b/p can't be written" in wrong.text
    assert wrong.remedy is not None
    assert list(tmp_path.iterdir()) == []


def test_the_slicer_is_named_with_its_version_or_as_absent(tmp_path: Path) -> None:
    fine = program(tmp_path / "fine.sh", "echo PrusaSlicer-2.9.1+linux based on Slic3r")
    odd = program(tmp_path / "odd.sh", "echo something else")
    found = {
        command: findings(doctor._slicer, settings(tmp_path, slicer=command))[0]
        for command in (fine, odd, "no-such-slicer")
    }

    assert (found[fine].text, found[fine].remedy) == ("slicer: PrusaSlicer 2.9.1; printers: ender-3", None)
    assert found[odd].remedy is not None
    assert found["no-such-slicer"].remedy is None
    assert "is not installed" in found["no-such-slicer"].text
