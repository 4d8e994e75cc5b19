"""The eighteen families: proportions of each, drawn at random.

Lengths here are in any unit: `assemble` scales the result. Thin parts keep a half thickness of about 0.06 after
scaling, so that a small network can still see them. A colour index of 1 or 2 marks a part of its own colour.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.random import Generator

from training.solids import (
    ALONG_X,
    ALONG_Z,
    BOX,
    CAPSULE,
    CONE,
    ELLIPSOID,
    PRISM,
    SMOOTH_UNION,
    SUBTRACT,
    TORUS,
    Primitive,
    Shape,
    assemble,
    grid_points,
    rotation,
    sdf,
)

__all__ = ["FAMILIES", "FAMILY_NAMES", "THIN_FAMILIES", "Shape", "ball", "grid_points", "random_shape", "sdf"]


def ball() -> Shape:
    """A sphere that fills its cube."""
    return assemble("ellipsoid", [Primitive(ELLIPSOID, (1.0, 1.0, 1.0))])


def _ellipsoid(rng: Generator) -> Shape:
    radii = rng.uniform(0.45, 1.0, 3)
    if rng.random() < 0.15:
        radii[:] = 1.0
    return assemble("ellipsoid", [Primitive(ELLIPSOID, tuple(radii))])


def _box(rng: Generator) -> Shape:
    half = rng.uniform(0.35, 1.0, 3)
    rounding = rng.uniform(0.02, 0.35) * half.min()
    return assemble("box", [Primitive(BOX, tuple(half), rounding=rounding)])


def _cylinder(rng: Generator) -> Shape:
    h, r = 1.0, rng.uniform(0.3, 1.3)
    rounding = rng.uniform(0.01, 0.12) * min(h, r)
    turn = ALONG_X if rng.random() < 0.1 else None
    return assemble("cylinder", [Primitive(CONE, (h, r, r), rotation=turn, rounding=rounding)])


def _cone(rng: Generator) -> Shape:
    bottom = rng.uniform(0.4, 0.95)
    top = bottom * rng.uniform(0.0, 0.35)
    return assemble("cone", [Primitive(CONE, (1.0, bottom, top), rounding=rng.uniform(0.0, 0.03))])


def _capsule(rng: Generator) -> Shape:
    turn = ALONG_X if rng.random() < 0.12 else None
    return assemble("capsule", [Primitive(CAPSULE, (1.0, rng.uniform(0.25, 1.1)), rotation=turn)])


def _torus(rng: Generator) -> Shape:
    turn = None if rng.random() < 0.25 else ALONG_Z
    return assemble("torus", [Primitive(TORUS, (1.0, rng.uniform(0.18, 0.48)), rotation=turn)])


def _mug(rng: Generator) -> Shape:
    h, bottom = rng.uniform(0.7, 1.05), rng.uniform(0.52, 0.75)
    top = bottom * rng.uniform(0.92, 1.15)
    wall, floor = rng.uniform(0.1, 0.17), rng.uniform(0.12, 0.25)
    tube = rng.uniform(0.075, 0.125)
    ring = h * rng.uniform(0.42, 0.6)
    side = -1.0 if rng.random() < 0.15 else 1.0
    x = side * (min(bottom, top) + 0.25 * ring * rng.uniform(0.2, 1.0))
    colour = int(rng.integers(2))
    return assemble(
        "mug",
        [
            Primitive(CONE, (h, bottom, top), rounding=0.03),
            Primitive(TORUS, (ring, tube), (x, rng.uniform(-0.08, 0.08) * h, 0.0), ALONG_Z, colour=colour),
            Primitive(CONE, (h, bottom - wall, top - wall), (0.0, floor * 2, 0.0), operation=SUBTRACT),
        ],
    )


def _bowl(rng: Generator) -> Shape:
    depth, wall = rng.uniform(0.42, 0.85), rng.uniform(0.1, 0.17)
    outer, inner = (1.0, depth, 1.0), (1.0 - wall, depth - wall, 1.0 - wall)
    foot_h, foot_r = rng.uniform(0.05, 0.1), rng.uniform(0.3, 0.5)
    return assemble(
        "bowl",
        [
            Primitive(ELLIPSOID, outer),
            Primitive(CONE, (foot_h, foot_r, foot_r), (0.0, -depth + 0.02, 0.0), colour=int(rng.integers(2))),
            Primitive(ELLIPSOID, inner, operation=SUBTRACT),
            Primitive(BOX, (2.0, 1.0, 2.0), (0.0, 1.0, 0.0), operation=SUBTRACT),
        ],
        top=0.0,
    )


def _legs(
    x: float, z: float, half_height: float, y: float, thickness: float, *, is_round: bool
) -> list[Primitive]:
    corners = [(x, y, z), (-x, y, z), (x, y, -z), (-x, y, -z)]
    if is_round:
        return [Primitive(CONE, (half_height, thickness, thickness), c, colour=1) for c in corners]
    return [Primitive(BOX, (thickness, half_height, thickness), c, colour=1, rounding=0.01) for c in corners]


def _table(rng: Generator) -> Shape:
    width, depth, height = 1.0, rng.uniform(0.5, 1.0), rng.uniform(0.4, 0.85)
    plate, leg = rng.uniform(0.07, 0.12), rng.uniform(0.075, 0.13)
    inset = leg + rng.uniform(0.0, 0.12)
    half = height - plate
    legs = _legs(width - inset, depth - inset, half, -plate, leg, is_round=rng.random() < 0.3)
    top = Primitive(BOX, (width, plate, depth), (0.0, height - plate, 0.0), rounding=0.02)
    return assemble("table", [top, *legs])


def _chair(rng: Generator) -> Shape:
    width, depth = rng.uniform(0.42, 0.6), rng.uniform(0.42, 0.6)
    seat_y, seat, leg = rng.uniform(-0.25, 0.05), rng.uniform(0.065, 0.1), rng.uniform(0.068, 0.1)
    back = rng.uniform(0.065, 0.09)
    half = (seat_y + 1.0) / 2
    legs = _legs(width - leg, depth - leg, half, -1.0 + half, leg, is_round=rng.random() < 0.2)
    back_half = (1.0 - seat_y) / 2
    back_width = width * rng.uniform(0.85, 1.0)
    colour = int(rng.integers(3))
    return assemble(
        "chair",
        [
            Primitive(BOX, (width, seat, depth), (0.0, seat_y, 0.0), rounding=0.02),
            Primitive(
                BOX,
                (back_width, back_half, back),
                (0.0, seat_y + back_half, back - depth),
                rounding=0.02,
                colour=colour,
            ),
            *legs,
        ],
    )


def _dumbbell(rng: Generator) -> Shape:
    bar, radius, half = rng.uniform(0.1, 0.2), rng.uniform(0.38, 0.65), rng.uniform(0.16, 0.36)
    x = 1.0 - half
    if rng.random() < 0.3:
        ends = [Primitive(ELLIPSOID, (radius * 0.8,) * 3, (s * x, 0.0, 0.0), colour=1) for s in (1.0, -1.0)]
    else:
        ends = [
            Primitive(CONE, (half, radius, radius), (s * x, 0.0, 0.0), ALONG_X, rounding=0.04, colour=1)
            for s in (1.0, -1.0)
        ]
    return assemble("dumbbell", [Primitive(CONE, (x, bar, bar), rotation=ALONG_X), *ends])


def _snowman(rng: Generator) -> Shape:
    r1, r2, r3 = rng.uniform(0.45, 0.6), rng.uniform(0.34, 0.44), rng.uniform(0.22, 0.32)
    y2 = r1 + r2 * rng.uniform(0.5, 0.75)
    y3 = y2 + r2 + r3 * rng.uniform(0.4, 0.7)
    blend = rng.uniform(0.01, 0.08)
    parts = [
        Primitive(ELLIPSOID, (r1,) * 3),
        Primitive(ELLIPSOID, (r2,) * 3, (0.0, y2, 0.0), operation=SMOOTH_UNION, blend=blend),
        Primitive(ELLIPSOID, (r3,) * 3, (0.0, y3, 0.0), operation=SMOOTH_UNION, blend=blend),
    ]
    if rng.random() < 0.75:
        brim = y3 + r3 * 0.8
        hat_h, hat_r = rng.uniform(0.1, 0.2), r3 * rng.uniform(0.55, 0.8)
        parts.append(Primitive(CONE, (0.05, r3 * 1.15, r3 * 1.15), (0.0, brim, 0.0), colour=1))
        parts.append(Primitive(CONE, (hat_h, hat_r, hat_r), (0.0, brim + hat_h, 0.0), colour=1))
    return assemble("snowman", parts)


def _rocket(rng: Generator) -> Shape:
    radius, body, nose = rng.uniform(0.22, 0.36), rng.uniform(0.5, 0.7), rng.uniform(0.2, 0.36)
    fin_x, fin_y = radius * rng.uniform(0.7, 1.0), rng.uniform(0.15, 0.26)
    thick = rng.uniform(0.065, 0.09)
    turn = rng.choice([0.0, 0.0, 45.0])
    fins = []
    for k in range(4):
        spin = rotation("y", 90.0 * k + turn)
        centre = spin @ np.array([radius + fin_x * 0.5, -body + fin_y * 0.9, 0.0])
        fins.append(
            Primitive(
                BOX, (fin_x * 0.62, fin_y, thick), (centre[0], centre[1], centre[2]), spin, 0.02, colour=1
            )
        )
    tip = Primitive(CONE, (nose, radius, radius * 0.05), (0.0, body + nose, 0.0), colour=int(rng.integers(3)))
    return assemble("rocket", [Primitive(CONE, (body, radius, radius)), tip, *fins])


def _house(rng: Generator) -> Shape:
    width, depth, wall = rng.uniform(0.55, 0.9), rng.uniform(0.55, 0.95), rng.uniform(0.35, 0.65)
    roof, overhang = rng.uniform(0.2, 0.42), rng.uniform(0.03, 0.16)
    turn = rotation("y", 90.0) if rng.random() < 0.2 else np.eye(3)
    parts = [
        Primitive(BOX, (width, wall, depth), rotation=turn, rounding=0.01),
        Primitive(
            PRISM, (width + overhang, roof, depth + overhang * 0.7), (0.0, wall + roof, 0.0), turn, colour=1
        ),
    ]
    if rng.random() < 0.25:
        x, z = (turn @ np.array([width * 0.5, 0.0, depth * rng.uniform(-0.5, 0.5)]))[[0, 2]]
        parts.append(Primitive(BOX, (0.09, roof, 0.09), (x, wall + roof * 1.05, z), turn, colour=2))
    return assemble("house", parts)


def _ring_stack(rng: Generator) -> Shape:
    count = int(rng.integers(3, 6))
    tube = rng.uniform(0.13, 0.18) * 4 / count
    first, last = rng.uniform(0.55, 0.75), rng.uniform(0.16, 0.3)
    pole = rng.uniform(0.08, 0.12)
    base = Primitive(CONE, (0.06, first + tube, first + tube), (0.0, -0.06, 0.0), colour=1)
    spacing = tube * rng.uniform(1.6, 1.95)
    parts = [base]
    for i in range(count):
        ring = first + (last - first) * i / (count - 1)
        parts.append(Primitive(TORUS, (ring, tube), (0.0, tube + spacing * i, 0.0), colour=i % 3))
    top = tube * 2 + spacing * (count - 1)
    parts.append(Primitive(CONE, (top / 2, first * 0.8, max(pole, last * 0.8)), (0.0, top / 2, 0.0)))
    knob = rng.uniform(0.1, 0.17)
    parts.append(Primitive(ELLIPSOID, (knob,) * 3, (0.0, top + knob * 0.6, 0.0), colour=1))
    return assemble("ring_stack", parts)


def _hammer(rng: Generator) -> Shape:
    handle, head_x, head_r = rng.uniform(0.07, 0.11), rng.uniform(0.35, 0.58), rng.uniform(0.13, 0.22)
    y = 1.0 - head_r
    if rng.random() < 0.5:
        head = Primitive(
            BOX, (head_x, head_r, head_r * rng.uniform(0.8, 1.1)), (0.0, y, 0.0), rounding=0.02, colour=1
        )
    else:
        head = Primitive(CONE, (head_x, head_r, head_r), (0.0, y, 0.0), ALONG_X, 0.02, colour=1)
    stick = Primitive(CAPSULE, ((1.0 + y) / 2 - handle, handle), (0.0, (y - 1.0) / 2, 0.0))
    return assemble("hammer", [stick, head])


def _vase(rng: Generator) -> Shape:
    belly, squash = rng.uniform(0.42, 0.62), rng.uniform(0.85, 1.25)
    neck_r, neck_h = belly * rng.uniform(0.38, 0.6), rng.uniform(0.22, 0.42)
    rim = neck_r * rng.uniform(1.15, 1.6)
    body_y = belly * squash
    neck_y = body_y * 0.8 + neck_h
    hole = neck_r - rng.uniform(0.09, 0.12)
    foot = belly * rng.uniform(0.45, 0.7)
    colour = int(rng.integers(2))
    return assemble(
        "vase",
        [
            Primitive(ELLIPSOID, (belly, body_y, belly)),
            Primitive(
                CONE,
                (neck_h, neck_r, neck_r),
                (0.0, neck_y, 0.0),
                operation=SMOOTH_UNION,
                blend=0.1,
                colour=colour,
            ),
            Primitive(CONE, (0.08, neck_r, rim), (0.0, neck_y + neck_h - 0.06, 0.0), colour=1),
            Primitive(CONE, (0.07, foot, foot), (0.0, -body_y + 0.03, 0.0), colour=1),
            Primitive(CONE, (neck_h + 0.1, hole, hole), (0.0, neck_y + 0.12, 0.0), operation=SUBTRACT),
        ],
    )


def _lamp(rng: Generator) -> Shape:
    pole, base, foot = rng.uniform(0.07, 0.1), rng.uniform(0.3, 0.48), rng.uniform(0.065, 0.1)
    shade_h, bottom = rng.uniform(0.26, 0.42), rng.uniform(0.42, 0.68)
    top = bottom * rng.uniform(0.4, 0.8)
    return assemble(
        "lamp",
        [
            Primitive(
                CONE,
                (foot, base, base * rng.uniform(0.8, 1.0)),
                (0.0, -1.0 + foot, 0.0),
                rounding=0.01,
                colour=2,
            ),
            Primitive(CONE, (1.0 - shade_h / 2, pole, pole), (0.0, -shade_h / 2, 0.0)),
            Primitive(CONE, (shade_h, bottom, top), (0.0, 1.0 - shade_h, 0.0), colour=1),
        ],
    )


FAMILIES: dict[str, Callable[[Generator], Shape]] = {
    "ellipsoid": _ellipsoid,
    "box": _box,
    "cylinder": _cylinder,
    "cone": _cone,
    "capsule": _capsule,
    "torus": _torus,
    "mug": _mug,
    "bowl": _bowl,
    "table": _table,
    "chair": _chair,
    "dumbbell": _dumbbell,
    "snowman": _snowman,
    "rocket": _rocket,
    "house": _house,
    "ring_stack": _ring_stack,
    "hammer": _hammer,
    "vase": _vase,
    "lamp": _lamp,
}
FAMILY_NAMES = tuple(FAMILIES)
THIN_FAMILIES = ("table", "chair", "mug")


def random_shape(rng: Generator, family: str) -> Shape:
    """A shape of the family with proportions drawn from the generator."""
    return FAMILIES[family](rng)
