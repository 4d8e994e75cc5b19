"""DATA_DIR is removed under the running service."""

from __future__ import annotations

from pathlib import Path

from service.house import House, wait_for


def test_a_service_whose_folder_was_removed_takes_nothing_and_says_so(tmp_path: Path) -> None:
    house = House(tmp_path, {"LEASE_S": "3"})
    try:
        house.start("api")
        house.start("worker")
        house.wait_until_ready()
        (tmp_path / "data").rename(tmp_path / "moved")

        readiness = house.ask("GET", "/readyz")
        assert (readiness.status, readiness.json["status"]) == (503, "failed")
        request = {"session_id": "s", "asset_id": "a", "image_url": "https://example.com/a.png"}
        refused = house.ask("POST", "/generate-3d", request)
        assert (refused.status, refused.json["code"]) == (503, "unavailable")
        assert "removed" in refused.json["detail"]
        wait_for(lambda: house.running["worker"].poll() is not None, "the worker has left")
        assert house.running["worker"].returncode == 74
        assert not (tmp_path / "data").exists()
    finally:
        house.close()
