"""Signed URLs of files: each carries the time at which it expires and an HMAC over path and time.

Knows no routes, no jobs and no database.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field

from ai_engine.errors import LinkExpired, LinkInvalid


@dataclass(frozen=True)
class Links:
    """Signs links and verifies them."""

    key: bytes = field(repr=False)
    ttl_s: float
    public_url: str | None = None
    """What a link begins with (PUBLIC_URL); None: no link can be made."""

    def url(self, job_id: str, file_name: str, now_s: float) -> str | None:
        """A link to the file that holds for `ttl_s` from now on."""
        if self.public_url is None:
            return None
        expires = int(now_s + self.ttl_s)
        signature = _signature(self.key, job_id, file_name, str(expires))
        return f"{self.public_url}/files/{job_id}/{file_name}?expires={expires}&signature={signature}"

    def check(self, job_id: str, file_name: str, expires: str, signature: str, now_s: float) -> None:
        """Raises if this link was not signed with the key or has expired.

        Raises:
            LinkInvalid: the signature does not fit.
            LinkExpired: it did, and `expires` is over.
        """
        expected = _signature(self.key, job_id, file_name, expires)
        if not hmac.compare_digest(expected.encode(), signature.encode()):
            raise LinkInvalid("The link's signature does not fit.")
        if int(expires) < now_s:
            raise LinkExpired("The link holds no longer; ask for the delivery again.")


def _signature(key: bytes, job_id: str, file_name: str, expires: str) -> str:
    signed = f"{job_id}/{file_name}?{expires}".encode()
    return urlsafe_b64encode(hmac.digest(key, signed, hashlib.sha256)).decode().rstrip("=")
