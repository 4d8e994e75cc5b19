"""Decodes a mesh that stands in its own `data:` URL."""

from __future__ import annotations

from ai_engine.caller_meshes.limits import MeshLimits
from ai_engine.errors import MeshTooLarge, MeshUnreadable
from ai_engine.images.data_url import DataUrlInvalid, DataUrlTooLong, decode_base64_url


def decode_mesh_url(url: str, limits: MeshLimits) -> bytes:
    """The bytes in a `data:...;base64,` URL of any media type.

    Raises:
        MeshUnreadable: the URL is not of that form, or its text is not base64.
        MeshTooLarge: more than `limits.max_bytes`.
    """
    try:
        return decode_base64_url(url, limits.max_bytes)
    except DataUrlTooLong as error:
        raise MeshTooLarge(limits.over) from error
    except DataUrlInvalid as error:
        raise MeshUnreadable("A data URL must be data:model/stl;base64, and then base64.") from error
