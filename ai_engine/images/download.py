"""Downloads a picture, capped in size and time. Knows addresses only through the guarded client."""

from __future__ import annotations

from typing import Literal

from ai_engine.errors import DownloadError, ImageTooLarge, ImageUrlForbidden, UnreadableImage
from ai_engine.images.formats import DownloadLimits, over_limit, picture_format, refusal
from ai_engine.outbound.addresses import AddressForbidden
from ai_engine.outbound.client import GuardedClient, RedirectForbidden
from ai_engine.outbound.content_coding import TransferTooLarge
from ai_engine.outbound.deadline import TransferFailed
from ai_engine.stage import Stage

_ACCEPT = "image/png, image/webp, image/jpeg;q=0.9, image/avif;q=0.8, */*;q=0.5"


def fetch_image(
    url: str, *, http: GuardedClient, limits: DownloadLimits, what: Literal["picture", "mask"] = "picture"
) -> bytes:
    """The bytes of a PNG, JPEG, WebP or AVIF file at an http(s) URL; only its first bytes are looked at.

    `what` it is to the caller, for messages.

    Raises:
        ImageUrlForbidden: the URL, or one it redirects to, may not be used.
        DownloadError: no usable answer in time; says whether another try may help.
        ImageTooLarge: more than `limits.max_bytes`.
        UnreadableImage: what came is no picture of these formats.
    """
    data = _download(url, http, limits, what)
    if picture_format(data) is None:
        raise UnreadableImage(refusal(data), stage=Stage.DOWNLOAD)
    return data


def _download(url: str, http: GuardedClient, limits: DownloadLimits, what: str) -> bytes:
    try:
        return http.get_capped(url, limits.max_bytes, limits.timeout_s, accept=_ACCEPT)
    except RedirectForbidden as error:
        raise ImageUrlForbidden(
            f"The {what}'s server redirects to a URL that is not allowed: {error}."
        ) from error
    except AddressForbidden as error:
        raise ImageUrlForbidden(f"The {what}'s URL is not allowed: {error}.") from error
    except TransferTooLarge as error:
        raise ImageTooLarge(over_limit(limits, what)) from error
    except TransferFailed as error:
        raise DownloadError(
            f"The {what} could not be downloaded: {error}.", retryable=error.is_retryable
        ) from error
