"""Profiles of colours that a file names by numbers: code points for video (cICP, nclx), or gamma and chromaticities.

Sources: ITU-T H.273 (07/2024), tables 2 and 3; PNG third edition 11.3.2.1 (cHRM), 11.3.2.2 (gAMA), 11.3.2.6 (cICP).
Where browsers depart from these, the comment says how Chromium 156 shows it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ai_engine.images.colour.high_dynamic_range import HIGH_DYNAMIC_RANGE, profile_of_wide_range
from ai_engine.images.colour.icc_profile import Primaries, build_profile, levels

Samples = NDArray[np.float64]
_D65, _C, _E, _DCI = (0.3127, 0.3290), (0.310, 0.316), (1 / 3, 1 / 3), (0.314, 0.351)
SRGB = Primaries(_D65, (0.640, 0.330), (0.300, 0.600), (0.150, 0.060))
_NTSC = Primaries(_D65, (0.630, 0.340), (0.310, 0.595), (0.155, 0.070))
_PRIMARIES = {
    1: SRGB,
    4: Primaries(_C, (0.67, 0.33), (0.21, 0.71), (0.14, 0.08)),
    5: Primaries(_D65, (0.640, 0.330), (0.290, 0.600), (0.150, 0.060)),
    6: _NTSC,
    7: _NTSC,
    8: Primaries(_C, (0.681, 0.319), (0.243, 0.692), (0.145, 0.049)),
    9: Primaries(_D65, (0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    10: Primaries(_E, (1.0, 0.0), (0.0, 1.0), (0.0, 0.0)),
    11: Primaries(_DCI, (0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
    12: Primaries(_D65, (0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
    22: Primaries(_D65, (0.630, 0.340), (0.295, 0.605), (0.155, 0.077)),
}
_UNSPECIFIED, _BT_2020 = 2, 9
_CAMERAS = (1, 6, 11, 14, 15)
_SRGB_GAMMA = (43_182, 47_728)
"""1 / 2.2, 5 % less or more: without chromaticities it is meant as sRGB, as browsers show it."""
_UNIT = 100_000
"""Of gAMA and cHRM: hundred thousandths."""


def srgb_light(samples: Samples) -> Samples:
    """The light 0..1 of sRGB samples 0..1 (IEC 61966-2-1)."""
    return np.where(samples <= 0.04045, samples / 12.92, ((samples + 0.055) / 1.055) ** 2.4)


def _power(exponent: float) -> Callable[[Samples], Samples]:
    return lambda samples: samples**exponent


def _smpte_240(samples: Samples) -> Samples:
    return np.where(samples < 0.0912, samples / 4, ((samples + 0.1115) / 1.1115) ** (1 / 0.45))


def _smpte_428(samples: Samples) -> Samples:
    return 52.37 / 48 * samples**2.6


_TRANSFERS: dict[int, Callable[[Samples], Samples]] = {
    # Chromium shows a PNG of a camera's curve as the display of ITU-R BT.1886 does.
    **dict.fromkeys(_CAMERAS, _power(2.4)),
    4: _power(2.2),
    5: _power(2.8),
    7: _smpte_240,
    8: _power(1.0),
    13: srgb_light,
    17: _smpte_428,
}


def profile_of_code_points(primaries: int, transfer: int) -> bytes | None:
    """The profile of H.273's numbers; None where one is unknown or unspecified."""
    curve = _TRANSFERS.get(transfer)
    if primaries in _PRIMARIES and transfer in HIGH_DYNAMIC_RANGE:
        return profile_of_wide_range(_PRIMARIES[primaries], _PRIMARIES[_BT_2020], transfer)
    if curve is None or primaries not in _PRIMARIES:
        return None
    return build_profile(_PRIMARIES[primaries], curve(levels()))


def profile_of_nclx(primaries: int, transfer: int) -> bytes | None:
    """The profile of an AVIF's code points: as in browsers, what is unspecified or a camera's curve is sRGB's."""
    return profile_of_code_points(
        1 if primaries == _UNSPECIFIED else primaries,
        13 if transfer == _UNSPECIFIED or transfer in _CAMERAS else transfer,
    )


def profile_of_cicp(body: bytes) -> bytes | None:
    """The profile of a cICP chunk: RGB samples of full range; None for what no PNG can hold."""
    if len(body) != 4 or body[2:] != b"\0\1":
        return None
    return profile_of_code_points(body[0], body[1])


def profile_of_gamma(gamma: bytes, chromaticities: bytes) -> bytes | None:
    """The profile of a gAMA chunk, and of a cHRM chunk where there is one; None where they make no sense.

    Chromaticities alone say nothing to browsers either.
    """
    value = int.from_bytes(gamma) if len(gamma) == 4 else 0
    primaries = SRGB
    if not value or (not chromaticities and _SRGB_GAMMA[0] < value < _SRGB_GAMMA[1]):
        return None
    if len(chromaticities) == 32:
        x_and_y = [value / _UNIT for value in struct.unpack(">8i", chromaticities)]
        primaries = Primaries(*zip(x_and_y[::2], x_and_y[1::2], strict=True))
    return build_profile(primaries, levels() ** (_UNIT / value))
