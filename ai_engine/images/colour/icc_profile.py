"""ICC profiles: which of a file are sound, and those built of primaries and curves or of a table. Converts nothing.

Source: ICC.1:2001-04 (version 2), 6.1 (header), 6.3.4.2 (RGB profiles of a matrix and curves), 6.5.7
(lut16Type), annex A (D50); CIE 15:2004, 8.2.1 (L*a*b*).
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_PROFILE_BYTES = 4 << 20
"""Profiles of printing presses have 0.5 to 3 MB, those of screens and cameras some kB."""
_HEADER_BYTES, _ENTRY_BYTES = 128, 12
_MAX_VERSION, _MIN_TAG_BYTES = 4, 4
_SPACES = {
    (b"RGB ", b"XYZ "): "RGB",
    (b"RGB ", b"Lab "): "RGB",
    (b"GRAY", b"XYZ "): "L",
    (b"CMYK", b"XYZ "): "CMYK",
    (b"CMYK", b"Lab "): "CMYK",
}
"""By the samples and the space they are connected to. Browsers take no notice of grey that is connected to Lab."""
_D50 = np.array([0.9642, 1.0, 0.8249])
_MAX_WHITE_ERROR = 0.01
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_NUM_SAMPLES = 256
"""Of a curve: pictures are read with 8 bits a sample, so that each value has one."""


@dataclass(frozen=True)
class Primaries:
    """CIE 1931 chromaticities x, y of the white point and of full red, green and blue."""

    white: tuple[float, float]
    red: tuple[float, float]
    green: tuple[float, float]
    blue: tuple[float, float]


def levels(num_samples: int = _NUM_SAMPLES) -> NDArray[np.float64]:
    """The values 0..1 of a sample at which a curve is given to `build_profile`."""
    return np.linspace(0, 1, num_samples)


def space_of(profile: bytes) -> str | None:
    """`RGB`, `L` or `CMYK`: the samples that a sound profile describes; None for any other profile, or none.

    Only the header and the directory are looked at, and as browsers do: the class of the device does not matter, the
    illuminant does. A colour management system judges the rest.
    """
    if not _HEADER_BYTES < len(profile) <= MAX_PROFILE_BYTES or profile[36:40] != b"acsp":
        return None
    illuminant = np.frombuffer(profile[68:80], ">i4") / 65536
    is_usual = profile[8] <= _MAX_VERSION and bool((abs(illuminant - _D50) <= _MAX_WHITE_ERROR).all())
    return _SPACES.get((profile[16:20], profile[20:24])) if is_usual and _has_whole_tags(profile) else None


def _has_whole_tags(profile: bytes) -> bool:
    """True if the directory and all that it names lie within the length that the header states."""
    length, num_tags = struct.unpack_from(">I", profile)[0], int.from_bytes(profile[128:132])
    end = _HEADER_BYTES + 4 + _ENTRY_BYTES * num_tags
    if not 0 < end <= length <= len(profile):
        return False
    entries = np.frombuffer(profile[_HEADER_BYTES + 4 : end], ">u4").reshape(-1, 3).astype(np.int64)
    return bool((entries[:, 2] >= _MIN_TAG_BYTES).all() and (entries[:, 1] + entries[:, 2] <= length).all())


def usable(profile: bytes, *, num_channels: int) -> bytes:
    """The profile, where it describes samples of so many channels without alpha; else nothing.

    As in browsers, one for RGB holds for grey as well, one for grey not for RGB.
    """
    spaces = {1: ("L", "RGB"), 3: ("RGB",), 4: ("CMYK",)}
    return profile if space_of(profile) in spaces.get(num_channels, ()) else b""


def unpack(packed: bytes) -> bytes:
    """What a zlib stream holds; nothing where it is damaged, cut short, or holds more than a profile may have."""
    unpacker = zlib.decompressobj()
    try:
        found = unpacker.decompress(packed, MAX_PROFILE_BYTES + 1)
    except zlib.error:
        return b""
    return found if unpacker.eof else b""


def assemble(pieces: list[bytes]) -> bytes:
    """The profile of an APP2 marker's pieces, each with its number and their count before it; nothing if one lacks.

    Of two with the same number, or two profiles, the first counts. Source: ICC.1:2001-04, B.4.
    """
    num_pieces = pieces[0][1] if pieces and len(pieces[0]) > 1 else 0
    by_number = {piece[0]: piece[2:] for piece in reversed(pieces) if piece[1:2] == bytes([num_pieces])}
    if sorted(by_number) != [*range(1, num_pieces + 1)]:
        return b""
    return b"".join(by_number[number] for number in sorted(by_number))


def build_profile(primaries: Primaries, linear: NDArray[np.float64]) -> bytes | None:
    """An RGB profile of `primaries` whose evenly spaced samples stand for the light `linear`, 0..1.

    None where the primaries span no colours. Version 2: from version 4 on, littleCMS scales black points, which
    browsers do not.
    """
    columns = columns_of(primaries)
    if columns is None:
        return None
    curve = b"curv" + bytes(4) + struct.pack(">I", len(linear))
    curve += np.round(linear.clip(0, 1) * 65535).astype(">u2").tobytes()
    tags = {b"wtpt": _xyz(_D50)}
    tags |= {name: _xyz(column) for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns.T, strict=True)}
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    return _file(tags, connection=b"XYZ ")


def build_table_profile(xyz: NDArray[np.float64]) -> bytes:
    """An RGB profile of a table [n, n, n, 3]: the light, XYZ at D50, of evenly spaced red, green and blue samples."""
    num_points = len(xyz)
    roots = np.where(xyz > (6 / 29) ** 3 * _D50, np.cbrt(xyz / _D50), (841 / 108) * xyz / _D50 + 4 / 29)
    x, y, z = np.moveaxis(roots, -1, 0)
    lab = np.stack([(116 * y - 16) * 2.55, 500 * (x - y) + 128, 200 * (y - z) + 128], axis=-1) * 256
    identity = np.round(np.eye(3) * 65536).astype(">i4").tobytes()
    ramps = 3 * struct.pack(">HH", 0, 65535)
    body = b"mft2" + bytes(4) + bytes([3, 3, num_points, 0]) + identity + struct.pack(">HH", 2, 2)
    body += ramps + np.round(lab).clip(0, 65535).astype(">u2").tobytes() + ramps
    return _file({b"wtpt": _xyz(_D50), b"A2B0": body}, connection=b"Lab ")


def columns_of(primaries: Primaries) -> NDArray[np.float64] | None:
    """XYZ of full red, green and blue as columns [3, 3], their sum adapted to D50 by Bradford's matrix.

    None where the primaries span no colours.
    """
    corners = np.array([[x, y, 1 - x - y] for x, y in (primaries.red, primaries.green, primaries.blue)]).T
    x, y = primaries.white
    if not y > 0 or abs(np.linalg.det(corners)) < 1e-6:
        return None
    white = np.array([x, y, 1 - x - y]) / y
    columns = corners * np.linalg.solve(corners, white)
    cones, wanted = _BRADFORD @ white, _BRADFORD @ _D50
    if not (cones > 0).all() or abs(columns).max() > 100:
        return None
    return np.linalg.inv(_BRADFORD) @ np.diag(wanted / cones) @ _BRADFORD @ columns


def _xyz(values: NDArray[np.float64]) -> bytes:
    return b"XYZ " + bytes(4) + np.round(values * 65536).astype(">i4").tobytes()


def _file(tags: dict[bytes, bytes], *, connection: bytes) -> bytes:
    place = _HEADER_BYTES + 4 + _ENTRY_BYTES * len(tags)
    directory, bodies = struct.pack(">I", len(tags)), b""
    for name, body in tags.items():
        directory += name + struct.pack(">II", place + len(bodies), len(body))
        bodies += body + bytes(-len(body) % 4)
    header = struct.pack(
        ">I4sI4s4s4s12x4s28x",
        place + len(bodies),
        bytes(4),
        0x02100000,
        b"mntr",
        b"RGB ",
        connection,
        b"acsp",
    )
    illuminant = np.round(_D50 * 65536).astype(">i4").tobytes()
    return header + illuminant + bytes(_HEADER_BYTES - len(header) - len(illuminant)) + directory + bodies
