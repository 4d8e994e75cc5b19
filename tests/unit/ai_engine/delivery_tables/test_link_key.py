"""The key of links, shared by the processes of one service."""

from __future__ import annotations

from pathlib import Path

from ai_engine.delivery_tables.link_key import open_links
from ai_engine.settings import Settings


def test_processes_that_share_a_database_share_the_key(tmp_path: Path, each_database_url: str) -> None:
    settings = Settings(data_dir=tmp_path, database_url=each_database_url)

    first, second = open_links(settings), open_links(settings)

    assert first.key == second.key
    assert len(first.key) == 32


def test_a_key_of_the_settings_needs_no_database(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, link_secret="mine")

    assert open_links(settings).key == open_links(settings).key
    assert not list(tmp_path.iterdir())
    assert "mine" not in repr(settings) + repr(open_links(settings))
