"""Decodes a picture that stands in its own `data:` URL."""

from __future__ import annotations

import base64
import binascii
from urllib.parse import unquote_to_bytes

from ai_engine.errors import ImageTooLarge, UnreadableImage
from ai_engine.images.formats import DownloadLimits, over_limit
from ai_engine.stage import Stage

_UNNAMED_TYPES = ("", "application/octet-stream", "binary/octet-stream")
"""What programs write for a file whose type they don't know; the first bytes say it."""
_TO_BASE64 = bytes.maketrans(b"-_", b"+/")


def is_data_url(text: str) -> bool:
    """True for a URL that has its bytes in itself; blanks before it count for nothing."""
    return text.lstrip()[:5].lower() == "data:"


def decode_data_url(url: str, limits: DownloadLimits) -> bytes:
    """The bytes of the picture in a `data:image/...;base64,` URL, whose text may be URL-safe base64 too.

    Raises:
        UnreadableImage: the URL is not of that form, or its text is not base64.
        ImageTooLarge: more than `limits.max_bytes`.
    """
    head, separator, text = url.partition(",")
    media_type, *parameters = (part.strip() for part in head.lstrip()[5:].lower().split(";"))
    is_picture = media_type.startswith("image/") or media_type in _UNNAMED_TYPES
    if not separator or not is_picture or parameters[-1:] != ["base64"]:
        raise UnreadableImage("A data URL must begin with data:image/...;base64,", stage=Stage.DOWNLOAD)
    if len(text) * 3 // 4 > 3 * limits.max_bytes:  # percent signs may triple it
        raise ImageTooLarge(over_limit(limits))
    try:
        data = base64.b64decode(_pad(unquote_to_bytes(text)), validate=True)
    except (binascii.Error, ValueError) as error:
        raise UnreadableImage("The data URL is not valid base64.", stage=Stage.DOWNLOAD) from error
    if len(data) > limits.max_bytes:
        raise ImageTooLarge(over_limit(limits))
    return data


def _pad(text: bytes) -> bytes:
    """Base64 text as the decoder wants it: blanks and line breaks dropped, its own alphabet, its own padding."""
    dense = text.translate(_TO_BASE64, b" \t\n\r\f").rstrip(b"=")
    return dense + b"=" * (-len(dense) % 4)
