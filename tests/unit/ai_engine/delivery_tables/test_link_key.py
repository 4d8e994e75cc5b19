"""The key of links, shared by the processes of one service."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from ai_engine.delivery_tables.link_key import open_links
from ai_engine.job_queue.database import Database
from ai_engine.settings import Settings


def test_processes_that_share_a_database_share_the_key(tmp_path: Path, each_database_url: str) -> None:
    settings = Settings(data_dir=tmp_path, database_url=each_database_url)

    with closing(Database(each_database_url)) as one, closing(Database(each_database_url)) as other:
        first, second = open_links(settings, one), open_links(settings, other)

    assert first.key == second.key
    assert len(first.key) == 32


def test_a_key_of_the_settings_needs_no_database(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, link_secret="mine")

    with closing(Database(settings.jobs_database_url)) as database:
        first, second = open_links(settings, database), open_links(settings, database)

    assert first.key == second.key
    assert not list(tmp_path.iterdir())
    assert "mine" not in repr(settings) + repr(first)
