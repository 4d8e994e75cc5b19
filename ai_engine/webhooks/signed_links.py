"""Links to files that carry their own permission: a moment until which they hold, and a signature over both.

API and workers on several machines agree on the key: it is a setting, or else made once and kept in the job
database. Knows no routes and no jobs.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field

import sqlalchemy as sa

from ai_engine.errors import LinkExpired, LinkInvalid
from ai_engine.job_queue.database import make_tables, open_engine
from ai_engine.settings import Settings

_METADATA = sa.MetaData()
_KEY = sa.Table(
    "ai_engine_key",
    _METADATA,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)
_NAME = "links"
_KEY_BYTES = 32


@dataclass(frozen=True)
class Links:
    """Makes links, and knows its own again."""

    key: bytes = field(repr=False)
    ttl_s: float
    public_url: str | None = None
    """What a link begins with; None: nobody outside knows where this service is, and none can be made."""

    def url(self, job_id: str, file_name: str, now_s: float) -> str | None:
        """A link to the file that holds for `ttl_s` from now on."""
        if self.public_url is None:
            return None
        expires = int(now_s + self.ttl_s)
        signature = _signature(self.key, job_id, file_name, str(expires))
        return f"{self.public_url}/files/{job_id}/{file_name}?expires={expires}&signature={signature}"

    def check(self, job_id: str, file_name: str, expires: str, signature: str, now_s: float) -> None:
        """Comes back when this link is one of ours and still holds.

        Raises:
            LinkInvalid: nobody with the key signed this.
            LinkExpired: it held once.
        """
        expected = _signature(self.key, job_id, file_name, expires)
        if not hmac.compare_digest(expected.encode(), signature.encode()):
            raise LinkInvalid("The link's signature does not fit.")
        if int(expires) < now_s:
            raise LinkExpired("The link holds no longer; ask for the delivery again.")


def open_links(settings: Settings) -> Links:
    """The links of this service; its database is asked for the key where no setting has it."""
    if settings.link_secret is not None:
        key = hashlib.sha256(settings.link_secret.get_secret_value().encode()).digest()
    else:
        key = _kept_key(settings.jobs_database_url)
    return Links(key, settings.link_ttl_s, settings.public_url)


def _signature(key: bytes, job_id: str, file_name: str, expires: str) -> str:
    signed = f"{job_id}/{file_name}?{expires}".encode()
    return urlsafe_b64encode(hmac.digest(key, signed, hashlib.sha256)).decode().rstrip("=")


def _kept_key(database_url: str) -> bytes:
    engine = open_engine(database_url)
    try:
        make_tables(engine, _METADATA)
        try:
            with engine.begin() as connection:
                connection.execute(sa.insert(_KEY).values(name=_NAME, value=secrets.token_hex(_KEY_BYTES)))
        except sa.exc.IntegrityError:
            pass  # Another process was first: its key is everybody's.
        with engine.connect() as connection:
            value = connection.execute(sa.select(_KEY.c.value).where(_KEY.c.name == _NAME)).scalar_one()
    finally:
        engine.dispose()
    return bytes.fromhex(value)
