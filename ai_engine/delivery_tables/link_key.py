"""The key that signs links: LINK_SECRET, or one made once and kept in the job database.

API and workers on several machines agree on it that way.
"""

from __future__ import annotations

import hashlib
import secrets

import sqlalchemy as sa

from ai_engine.job_queue.database import Database
from ai_engine.settings import Settings
from ai_engine.webhooks.signed_links import Links

_METADATA = sa.MetaData()
_KEY = sa.Table(
    "ai_engine_key",
    _METADATA,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)
_NAME = "links"
_KEY_BYTES = 32


def open_links(settings: Settings, database: Database) -> Links:
    """The signer of links; the key is read from the job database where LINK_SECRET is not set."""
    if settings.link_secret is not None:
        key = hashlib.sha256(settings.link_secret.get_secret_value().encode()).digest()
    else:
        key = _read_or_make_key(database)
    return Links(key, settings.link_ttl_s, settings.public_url)


def _read_or_make_key(database: Database) -> bytes:
    database.make_tables(_METADATA)
    try:
        with database.write() as connection:
            connection.execute(sa.insert(_KEY).values(name=_NAME, value=secrets.token_hex(_KEY_BYTES)))
    except sa.exc.IntegrityError:
        pass  # Another process was first: its key is everybody's.
    with database.read() as connection:
        value = connection.execute(sa.select(_KEY.c.value).where(_KEY.c.name == _NAME)).scalar_one()
    return bytes.fromhex(value)
