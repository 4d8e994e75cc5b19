"""Mesh files that are made to cost as much as they can, one or more for each format, and what each is refused by."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Callable
from itertools import pairwise

import trimesh

_MODEL = "3D/3dmodel.model"


def _packed_3mf(change: Callable[[bytes], bytes]) -> bytes:
    """A cube as 3MF whose model part went through `change`."""
    source = zipfile.ZipFile(io.BytesIO(trimesh.creation.box((1, 1, 1)).export(file_type="3mf")))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in source.namelist():
            data = source.read(name)
            archive.writestr(name, change(data) if name == _MODEL else data)
    return packed.getvalue()


def zip_of_gigabytes() -> bytes:
    """A 3MF whose directory names more bytes than are unpacked."""
    packed = bytearray(_packed_3mf(lambda model: model))
    entry = packed.index(b"PK\x01\x02")
    packed[entry + 24 : entry + 28] = struct.pack("<I", 3_000_000_000)
    return bytes(packed)


def doubling_components(levels: int = 40) -> bytes:
    """A 3MF whose objects each hold the one before twice: 2 to the power of `levels` cubes."""

    def change(model: bytes) -> bytes:
        text = model.decode()
        first = text[text.index("<object") :].partition('id="')[2].partition('"')[0]
        names = [first, *(str(1000 + level) for level in range(levels))]
        objects = "".join(
            f'<object id="{own}" type="model"><components><component objectid="{held}"/>'
            f'<component objectid="{held}" transform="1 0 0 0 1 0 0 0 1 2 0 0"/></components></object>'
            for held, own in pairwise(names)
        )
        text = text.replace("</resources>", objects + "</resources>")
        head, _, tail = text.partition("<build")
        inside = tail.partition(">")[2].partition("</build>")
        return f'{head}<build><item objectid="{names[-1]}"/></build>{inside[2]}'.encode()

    return _packed_3mf(change)


def entities() -> bytes:
    """A 3MF whose XML has entities that hold each other (a billion laughs)."""
    names = [f"e{level}" for level in range(12)]
    rules = '<!ENTITY e0 "0">' + "".join(
        f'<!ENTITY {own} "{f"&{held};" * 10}">' for held, own in pairwise(names)
    )

    def change(model: bytes) -> bytes:
        text = model.decode()
        head, _, rest = text.partition("<model")
        rest = rest.replace("<build", "<metadata>&e11;</metadata><build", 1)
        return f"{head}<!DOCTYPE model [{rules}]><model{rest}".encode()

    return _packed_3mf(change)


def glb(document: object) -> bytes:
    """A GLB of this description, without numbers."""
    text = document if isinstance(document, bytes) else json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    return struct.pack("<4sIIII", b"glTF", 2, 20 + len(text), len(text), 0x4E4F534A) + text


def glb_of_instances() -> bytes:
    """A GLB whose nodes use one mesh a thousand times."""
    return glb(
        {
            "accessors": [{"count": 3_000_000}],
            "meshes": [{"primitives": [{"indices": 0, "attributes": {}}]}],
            "nodes": [{"mesh": 0}] * 1000,
        }
    )


def ply_of_billions() -> bytes:
    """A PLY whose head announces four thousand million corners."""
    return (
        b"ply\nformat binary_little_endian 1.0\nelement vertex 4000000000\nproperty float x\nproperty float y\n"
        b"property float z\nelement face 4000000000\nproperty list uchar int vertex_indices\nend_header\n"
    ) + bytes(1000)


BOMBS: dict[str, tuple[bytes, set[str]]] = {
    "zip": (zip_of_gigabytes(), {"mesh_bomb"}),
    "components": (doubling_components(), {"mesh_bomb", "mesh_too_many_faces"}),
    "entities": (entities(), {"mesh_bomb", "mesh_invalid"}),
    "deep json": (glb(b'{"nodes":' + b"[" * 200_000), {"mesh_invalid"}),
    "instances": (glb_of_instances(), {"mesh_too_many_faces"}),
    "counts": (glb({"accessors": [{"count": 4_000_000_000}], "meshes": []}), {"mesh_too_many_faces"}),
    "ply": (ply_of_billions(), {"mesh_bomb", "mesh_invalid"}),
}
"""By name: the file, and the codes that it may be refused by."""
