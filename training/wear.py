"""What happens to a cut-out on its way to the model: a camera's and a file format's faults, and a mask that errs.

Pictures are RGBA uint8 [S, S, 4], straight alpha. Knows no shapes and no networks.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from training.grounds import random_colour, smooth_noise

Rgba = NDArray[np.uint8]
Picture = NDArray[np.float32]

MASK_SHARE, OPAQUE_SHARE, BLUR_SHARE, NOISE_SHARE, JPEG_SHARE, TONE_SHARE = 0.4, 0.08, 0.35, 0.35, 0.4, 0.4
# The embedded remover stretches its opacity in this way before it is used.
MASK_LOW, MASK_SPAN = 0.35, 0.3


def worn(rng: Generator, rgba: Rgba) -> Rgba:
    """The cut-out as it may arrive: each fault strikes by its own share."""
    alpha: Picture = rgba[..., 3].astype(np.float32) / np.float32(255)
    ground = _ground(rng, len(rgba))
    cover = alpha[..., None]
    picture: Picture = rgba[..., :3].astype(np.float32) / np.float32(255) * cover + ground * (1 - cover)
    picture = _photographed(rng, picture)
    if rng.random() < OPAQUE_SHARE:
        return _framed_as_it_is(rng, rgba, alpha)
    if rng.random() < MASK_SHARE:
        alpha = _mistaken(rng, alpha)
    elif rng.random() < 0.5:
        alpha = cv2.GaussianBlur(alpha, (0, 0), rng.uniform(0.4, 1.0))
        alpha = np.where(alpha < 0.02, np.float32(0), alpha)
    if alpha.max() < 0.5 or (alpha > 0.5).sum() < 50:
        return rgba
    return _joined(picture, alpha)


def _ground(rng: Generator, side: int) -> Picture:
    """What lay behind the object, and shows at the borders of a mask that errs."""
    colour = random_colour(rng) if rng.random() < 0.6 else np.float32(rng.uniform(0.75, 1.0)) * np.ones(3)
    ground = np.broadcast_to(colour.astype(np.float32), (side, side, 3))
    if rng.random() < 0.3:
        ground = ground + smooth_noise(rng, side, int(rng.integers(2, 30))) * np.float32(0.15)
    return np.clip(ground, 0, 1).astype(np.float32)


def _photographed(rng: Generator, picture: Picture) -> Picture:
    """Tone, blur, noise and JPEG, in a camera's order."""
    if rng.random() < TONE_SHARE:
        tint = rng.uniform(0.85, 1.15) + rng.uniform(-0.08, 0.08, 3)
        picture = cv2.pow(picture, float(rng.uniform(0.6, 1.6))) * tint.astype(np.float32)
    if rng.random() < BLUR_SHARE:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.4, 1.8))
    if rng.random() < NOISE_SHARE:
        noise = rng.standard_normal(picture.shape, np.float32)
        if rng.random() < 0.5:
            noise = cv2.GaussianBlur(noise, (0, 0), 0.8) * 1.8
        picture = picture + noise * np.float32(rng.uniform(0.01, 0.1))
    if rng.random() < JPEG_SHARE:
        pixels = (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)
        _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 95))])
        picture = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.float32) / np.float32(255)
    return np.clip(picture, 0, 1).astype(np.float32)


def _mistaken(rng: Generator, alpha: Picture) -> Picture:
    """A soft mask, too wide or too narrow in places, with a bite or a patch at times."""
    side = len(alpha)
    soft = cv2.GaussianBlur(alpha, (0, 0), side * rng.uniform(0.003, 0.016))
    soft = soft + smooth_noise(rng, side, int(rng.integers(3, 16)))[..., 0] * np.float32(rng.uniform(0, 0.12))
    soft = soft + np.float32(rng.uniform(-0.15, 0.15))
    if rng.random() < 0.25:
        spot = np.zeros_like(alpha)
        rows, columns = np.nonzero(alpha > 0.5)
        if len(rows):
            k = int(rng.integers(len(rows)))
            radius = max(1, int(side * rng.uniform(0.01, 0.05)))
            cv2.circle(spot, (int(columns[k]), int(rows[k])), radius, 1.0, -1)
        near = cv2.GaussianBlur(alpha, (0, 0), side * 0.03) > 0.05
        soft = soft + spot * near * np.float32(rng.choice([-0.8, 0.8]))
    # A remover keeps to the object's surroundings: no opacity is left far from it.
    far = cv2.dilate(alpha, np.ones((5, 5), np.uint8), iterations=2) < 0.01
    return np.where(far, 0, np.clip((soft - MASK_LOW) / MASK_SPAN, 0, 1)).astype(np.float32)


def _framed_as_it_is(rng: Generator, rgba: Rgba, alpha: Picture) -> Rgba:
    """An opaque picture on a light plain ground, the object smaller and a little off the middle."""
    side = len(rgba)
    level = np.float32(rng.uniform(0.9, 1.0))
    canvas = np.full((side, side, 3), level, np.float32)
    share = rng.uniform(0.65, 0.98)
    size = max(8, int(side * share))
    small = cv2.resize(rgba, (size, size), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    room = (side - size) // 2
    shift = [int(np.clip(room + rng.normal() * 0.03 * side, 0, side - size)) for _ in range(2)]
    place = (slice(shift[0], shift[0] + size), slice(shift[1], shift[1] + size))
    cover = small[..., 3:]
    canvas[place] = small[..., :3] * cover + canvas[place] * (1 - cover)
    return _joined(_photographed(rng, canvas), np.ones_like(alpha))


def _joined(picture: Picture, alpha: Picture) -> Rgba:
    layers = np.concatenate([picture, alpha[..., None]], -1)
    return (np.clip(layers, 0, 1) * 255 + 0.5).astype(np.uint8)
