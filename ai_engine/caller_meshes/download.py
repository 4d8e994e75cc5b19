"""Downloads a mesh file, capped in size and time. Knows addresses only through the guarded client."""

from __future__ import annotations

from ai_engine.caller_meshes.limits import MeshLimits
from ai_engine.errors import MeshDownloadFailed, MeshTooLarge, MeshUrlForbidden
from ai_engine.outbound.addresses import AddressForbidden
from ai_engine.outbound.client import GuardedClient, RedirectForbidden
from ai_engine.outbound.content_coding import TransferTooLarge
from ai_engine.outbound.deadline import TransferFailed

_ACCEPT = "model/*, application/octet-stream;q=0.9, */*;q=0.5"


def fetch_mesh(url: str, *, http: GuardedClient, limits: MeshLimits) -> bytes:
    """The bytes of a file at an http(s) URL; they are not looked at.

    Raises:
        MeshUrlForbidden: the URL, or one it redirects to, may not be used.
        MeshDownloadFailed: no usable answer in time; says whether another try may help.
        MeshTooLarge: more than `limits.max_bytes`.
    """
    try:
        return http.get_capped(url, limits.max_bytes, limits.timeout_s, accept=_ACCEPT)
    except RedirectForbidden as error:
        detail = f"The mesh's server redirects to a URL that is not allowed: {error}."
        raise MeshUrlForbidden(detail) from error
    except AddressForbidden as error:
        raise MeshUrlForbidden(f"The mesh's URL is not allowed: {error}.") from error
    except TransferTooLarge as error:
        raise MeshTooLarge(limits.over) from error
    except TransferFailed as error:
        detail = f"The mesh could not be downloaded: {error}."
        raise MeshDownloadFailed(detail, retryable=error.is_retryable) from error
