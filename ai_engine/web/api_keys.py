"""API keys of callers. Only a key's hash is configured, so that no file and no log ever holds the key itself.

Knows no HTTP and no jobs.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ai_engine.errors import StartupError
from ai_engine.settings import Settings

PREFIX = "aie_"
"""What a key begins with: scanners for leaked secrets, and people, know it by that."""
_KEY_BYTES = 32
_NAME = re.compile(r"[A-Za-z0-9._\-]{1,64}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ONE_KEY = "name:sha256, as `python main.py new-key NAME` prints it"


@dataclass(frozen=True)
class ApiKey:
    """A key as it is configured. Two of one name are the same caller: so a key is replaced without a gap."""

    name: str
    sha256: str = field(repr=False)


@dataclass(frozen=True)
class ApiKeys:
    """The keys that are taken; with none, everybody is let in."""

    keys: Sequence[ApiKey] = ()

    def __bool__(self) -> bool:
        return bool(self.keys)

    def name_of(self, key: str) -> str | None:
        """The name of this key's owner; None for an unknown key.

        Takes as long for a wrong key as for a right one.
        """
        digest = _hash(key)
        owners = [known.name for known in self.keys if hmac.compare_digest(known.sha256, digest)]
        return owners[0] if owners else None


def new_key() -> str:
    """A key that was never given before: 256 bits of chance, which is why a plain hash guards it."""
    return PREFIX + secrets.token_urlsafe(_KEY_BYTES)


def setting_entry(name: str, key: str) -> str:
    """The setting's entry for a key: `name:sha256`.

    Raises:
        ValueError: the name has other characters than letters, digits, dot, hyphen and underscore.
    """
    if not _NAME.fullmatch(name):
        raise ValueError("a key's name has 1 to 64 of the characters A-Z a-z 0-9 . _ -")
    return f"{name}:{_hash(key)}"


def parse_keys(text: str) -> list[ApiKey]:
    """The keys in `text`: apart by commas, spaces or lines; a line that begins with # is a note.

    Raises:
        ValueError: one of them is no `name:sha256`. The message does not show it: it may be a key.
    """
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    return [_parse(word) for line in lines for word in line.replace(",", " ").split()]


def read_keys(settings: Settings) -> ApiKeys:
    """The keys of the settings and of their file.

    Raises:
        StartupError: one of them, or the file, can't be read.
    """
    text = settings.api_keys.get_secret_value() if settings.api_keys else ""
    keys = _parse_setting("API_KEYS", text)
    if settings.api_keys_file is not None:
        keys += _parse_setting("API_KEYS_FILE", _read(settings.api_keys_file))
        if not keys:
            raise StartupError("API_KEYS_FILE: there is no key in it")
    return ApiKeys(keys)


def check_access(settings: Settings) -> ApiKeys:
    """The keys, where the service may start with them, or without any.

    Raises:
        StartupError: others can reach the port, there are no keys, and OPEN_ACCESS is not set.
    """
    keys = read_keys(settings)
    if keys or settings.open_access or not settings.is_published:
        return keys
    raise StartupError(
        f"others can reach {settings.reached_at}, and there are no API keys: anybody could use the device and read "
        "all jobs. Run `python main.py new-key NAME` and set API_KEYS to the line it prints; or listen on this "
        "machine alone (HOST=127.0.0.1); or, where something in front of it keeps strangers out, set OPEN_ACCESS=1"
    )


def _parse_setting(setting: str, text: str) -> list[ApiKey]:
    try:
        return parse_keys(text)
    except ValueError as error:
        raise StartupError(f"{setting}: {error}") from None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise StartupError(f"API_KEYS_FILE: {path} can't be read") from None


def _parse(word: str) -> ApiKey:
    name, _, digest = word.partition(":")
    if not _NAME.fullmatch(name) or not _SHA256.fullmatch(digest):
        raise ValueError(f"a key is configured as {_ONE_KEY}")
    return ApiKey(name, digest)


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
