"""Decodes a picture, or another file, that stands in its own `data:` URL."""

from __future__ import annotations

import base64
import binascii
from urllib.parse import unquote_to_bytes

from ai_engine.errors import ImageTooLarge, UnreadableImage
from ai_engine.images.formats import DownloadLimits, over_limit
from ai_engine.stage import Stage

_UNNAMED_TYPES = ("", "application/octet-stream", "binary/octet-stream")
"""What programs write for a file whose type they don't know; the first bytes say it."""
_NO_PICTURE = "A data URL must begin with data:image/...;base64,"
_TO_BASE64 = bytes.maketrans(b"-_", b"+/")


def is_data_url(text: str) -> bool:
    """True for a URL that has its bytes in itself; blanks before it count for nothing."""
    return text.lstrip()[:5].lower() == "data:"


class DataUrlInvalid(ValueError):
    """The URL has no bytes in base64."""


class DataUrlTooLong(ValueError):
    """The URL has more bytes than are taken."""


def decode_data_url(url: str, limits: DownloadLimits) -> bytes:
    """The bytes of the picture in a `data:image/...;base64,` URL, whose text may be URL-safe base64 too.

    Raises:
        UnreadableImage: the URL is not of that form, or its text is not base64.
        ImageTooLarge: more than `limits.max_bytes`.
    """
    media_type = url.partition(",")[0].lstrip()[5:].partition(";")[0].strip().lower()
    try:
        if not (media_type.startswith("image/") or media_type in _UNNAMED_TYPES):
            raise DataUrlInvalid(_NO_PICTURE)
        return decode_base64_url(url, limits.max_bytes, _NO_PICTURE)
    except DataUrlTooLong as error:
        raise ImageTooLarge(over_limit(limits)) from error
    except DataUrlInvalid as error:
        raise UnreadableImage(str(error), stage=Stage.DOWNLOAD) from error


def decode_base64_url(
    url: str, max_bytes: int, form: str = "A data URL must have the form data:...;base64,"
) -> bytes:
    """The bytes in a `data:...;base64,` URL of any media type; `form` is the sentence for another form.

    Raises:
        DataUrlInvalid: the URL is not of that form, or its text is not base64.
        DataUrlTooLong: more than `max_bytes`.
    """
    head, separator, text = url.partition(",")
    if not separator or [part.strip() for part in head.lower().split(";")[1:]][-1:] != ["base64"]:
        raise DataUrlInvalid(form)
    if len(text) * 3 // 4 > 3 * max_bytes:  # percent signs may triple it
        raise DataUrlTooLong
    try:
        data = base64.b64decode(_pad(unquote_to_bytes(text)), validate=True)
    except (binascii.Error, ValueError) as error:
        raise DataUrlInvalid("The data URL is not valid base64.") from error
    if len(data) > max_bytes:
        raise DataUrlTooLong
    return data


def _pad(text: bytes) -> bytes:
    """Base64 text as the decoder wants it: blanks and line breaks dropped, its own alphabet, its own padding."""
    dense = text.translate(_TO_BASE64, b" \t\n\r\f").rstrip(b"=")
    return dense + b"=" * (-len(dense) % 4)
