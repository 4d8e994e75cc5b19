"""Profiles of pictures of high dynamic range (PQ and HLG), toned down for a screen without it as browsers do.

Source: ITU-R BT.2100-2, tables 4 (PQ) and 5 (HLG); BT.2408 (203 cd/m2 for paper white). How Chromium 156 tones down was
measured: all three samples of a pixel by one factor, which the largest of them in BT.2020 decides.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ai_engine.images.colour.icc_profile import Primaries, build_table_profile, columns_of, levels

Light = NDArray[np.float64]
_PQ, _HLG = 16, 18
HIGH_DYNAMIC_RANGE = (_PQ, _HLG)
"""Transfer functions of ITU-T H.273, table 3."""
_WHITE_CD_M2, _PEAK_CD_M2 = 203.0, 1000.0
"""Of a sheet of paper, and of the display that HLG is graded on."""
_SYSTEM_GAMMA = 1.2
"""Of that display (BT.2100 table 5)."""
_LIGHT = (0.0, 1.0, 1.0187, 1.363, 1.833, 2.476, 3.356, 4.561, _PEAK_CD_M2 / _WHITE_CD_M2)
_SHOWN = (0.0, 0.5, 0.5089, 0.624, 0.7157, 0.807, 0.8963, 0.9823, 1.0)
"""Light in multiples of paper white, and the share of the screen's white that it is shown with."""
_NUM_POINTS = 49
"""Along each axis of the table, which is interpolated."""
_MIN_LIGHT = 1e-9


def profile_of_wide_range(primaries: Primaries, bt_2020: Primaries, transfer: int) -> bytes | None:
    """The profile of RGB samples of PQ or HLG; None where the primaries span no colours."""
    columns, wide_columns = columns_of(primaries), columns_of(bt_2020)
    if columns is None or wide_columns is None:
        return None
    samples = np.stack(np.meshgrid(*3 * [levels(_NUM_POINTS)], indexing="ij"), axis=-1)
    light = _quantized_light(samples) if transfer == _PQ else _graded_light(samples, columns[1])
    wide_light = light @ (np.linalg.inv(wide_columns) @ columns).T
    largest = wide_light.max(axis=-1, keepdims=True).clip(_MIN_LIGHT)
    return build_table_profile(wide_light * (_tone_down(largest) / largest) @ wide_columns.T)


def _quantized_light(samples: Light) -> Light:
    """PQ: light of a display, in multiples of paper white."""
    root = samples ** (32 / 2523)
    light = np.maximum(root - 3424 / 4096, 0) / (2413 / 128 - 2392 / 128 * root)
    return 10_000 / _WHITE_CD_M2 * light ** (16384 / 2610)


def _graded_light(samples: Light, luminance: Light) -> Light:
    """HLG: light of a display of 1000 cd/m2, in multiples of paper white; `luminance` of full red, green and blue."""
    scene = np.where(samples <= 0.5, samples**2 / 3, (np.exp((samples - 0.55991) / 0.17883) + 0.28467) / 12)
    system = (scene @ luminance)[..., None].clip(_MIN_LIGHT) ** (_SYSTEM_GAMMA - 1)
    return _PEAK_CD_M2 / _WHITE_CD_M2 * scene * system


def _tone_down(light: Light) -> Light:
    return np.interp(light, _LIGHT, _SHOWN)
