"""Decodes a picture that stands in its own `data:` URL."""

from __future__ import annotations

import base64
import binascii
from urllib.parse import unquote_to_bytes

from ai_engine.errors import ImageTooLarge, UnreadableImage
from ai_engine.images.download import DownloadLimits, _over_limit


def _embedded(url: str, limits: DownloadLimits) -> bytes:
    head, separator, text = url.partition(",")
    media_type, *parameters = head[5:].lower().split(";")
    if not separator or not media_type.startswith("image/") or parameters[-1:] != ["base64"]:
        raise UnreadableImage("A data URL must begin with data:image/...;base64,", stage="download")
    if len(text) * 3 // 4 > 3 * limits.max_bytes:  # percent signs may triple it
        raise ImageTooLarge(_over_limit(limits))
    try:
        data = base64.b64decode(unquote_to_bytes(text), validate=True)
    except (binascii.Error, ValueError) as error:
        raise UnreadableImage("The data URL is not valid base64.", stage="download") from error
    if len(data) > limits.max_bytes:
        raise ImageTooLarge(_over_limit(limits))
    return data
