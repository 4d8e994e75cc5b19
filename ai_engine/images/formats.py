"""Which picture format a file's first bytes announce. Needs no decoder."""

from __future__ import annotations

from dataclasses import dataclass

NO_PICTURE = "The file is not a PNG, JPEG or WebP picture."

MAGIC_BYTES = 12
"""Of a file's beginning, which tell what it is."""
_MAGIC = {"PNG": b"\x89PNG\r\n\x1a\n", "JPEG": b"\xff\xd8\xff", "WEBP": b"RIFF"}


def picture_format(data: bytes) -> str | None:
    """`PNG`, `JPEG` or `WEBP`, by the first bytes alone; None for anything else."""
    for name, magic in _MAGIC.items():
        if data.startswith(magic) and (name != "WEBP" or data[8:12] == b"WEBP"):
            return name
    return None


@dataclass(frozen=True)
class DownloadLimits:
    """How much of a picture is taken, and for how long it is waited for."""

    max_bytes: int = 20_000_000
    timeout_s: float = 30.0


def over_limit(limits: DownloadLimits) -> str:
    """The sentence for a picture of more bytes than `limits` lets through."""
    return f"The picture has more than {limits.max_bytes / 1e6:g} MB."
