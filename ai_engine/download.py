"""URL to picture bytes, capped in size and time. Knows addresses only through the guarded client."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from ai_engine.errors import DownloadError, ImageTooLarge, ImageUrlForbidden, UnreadableImage
from ai_engine.outbound.client import AddressForbidden, GuardedClient, TransferFailed, TransferTooLarge
from ai_engine.picture import NO_PICTURE, picture_format


@dataclass(frozen=True)
class DownloadLimits:
    """How much of a picture is taken, and for how long it is waited for."""

    max_bytes: int = 20_000_000
    timeout_s: float = 30.0


def fetch_image(url: str, *, http: GuardedClient, limits: DownloadLimits) -> bytes:
    """The bytes of a PNG, JPEG or WebP file at an http(s) or `data:` URL; only its first bytes are looked at.

    Raises:
        ImageUrlForbidden: the URL, or one it redirects to, may not be used.
        DownloadError: no usable answer in time; says whether another try may help.
        ImageTooLarge: more than `limits.max_bytes`.
        UnreadableImage: what came is no picture of these formats.
    """
    data = _embedded(url, limits) if url[:5].lower() == "data:" else _downloaded(url, http, limits)
    if picture_format(data) is None:
        raise UnreadableImage(NO_PICTURE, stage="download")
    return data


def _downloaded(url: str, http: GuardedClient, limits: DownloadLimits) -> bytes:
    try:
        return http.get_capped(url, limits.max_bytes, limits.timeout_s)
    except AddressForbidden as error:
        raise ImageUrlForbidden(f"The picture's URL is not allowed: {error}.") from error
    except TransferTooLarge as error:
        raise ImageTooLarge(_over_limit(limits)) from error
    except TransferFailed as error:
        raise DownloadError(
            f"The picture could not be downloaded: {error}.", retryable=error.is_retryable
        ) from error


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


def _over_limit(limits: DownloadLimits) -> str:
    return f"The picture has more than {limits.max_bytes / 1e6:g} MB."
