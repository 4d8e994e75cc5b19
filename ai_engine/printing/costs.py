"""What a print costs, from its report: grams by material, which printers hold it, hours. Estimates; no slicer is asked.

A filament printer fills a shell and, behind it, a part of the rest. With `shell = min(volume, SHELL_MM * area)`:

    filament = shell + INFILL * (volume - shell)                  mm³
    seconds  = S_PER_MM3 * filament + S_PER_MM * height + START_S

The constants are fitted to PrusaSlicer 2.5 and its own defaults (layers of 0.2 mm, a nozzle of 0.4 mm, infill of 15 %)
on 20 shapes: spheres, boxes, tubes, cones, thin walls of 15 to 90 mm; `docs/performance.md` has the errors.
"""

from __future__ import annotations

from dataclasses import replace

from ai_engine.facts import AdditionFacts, CostFacts

SHELL_MM, INFILL = 1.23, 0.136
S_PER_MM3, S_PER_MM, START_S = 0.2165, 22.0, 20.0
SECONDS_PER_HOUR = 3600.0

FILAMENT_DENSITY = {"pla": 1.24, "petg": 1.27, "abs": 1.04, "tpu": 1.21}
"""In g/cm³, as makers of filament state them."""
RESIN_DENSITY = 1.1
"""Of cured standard resin, in g/cm³; makers state 1.05 to 1.2."""
BEDS_MM: dict[str, tuple[float, float, float]] = {
    "prusa mini": (180, 180, 180),
    "prusa mk4": (250, 210, 220),
    "prusa xl": (360, 360, 360),
    "bambu a1 mini": (180, 180, 180),
    "bambu p1s": (256, 256, 256),
    "creality ender 3": (220, 220, 250),
    "elegoo mars 4": (153.4, 77.8, 175),
    "formlabs form 4": (200, 125, 210),
}
"""Build volumes along x, y, z, as the makers state them."""


def cost_of(volume: float, area: float, bbox: tuple[float, float, float]) -> CostFacts:
    """What a closed mesh of so many mm³ and mm² costs, as it stands."""
    shell = min(volume, SHELL_MM * area)
    filament = shell + INFILL * (volume - shell)
    seconds = S_PER_MM3 * filament + S_PER_MM * bbox[2] + START_S
    grams = {name: round(density * filament / 1000, 1) for name, density in FILAMENT_DENSITY.items()}
    resin = {"resin": round(RESIN_DENSITY * volume / 1000, 1)}
    return CostFacts(grams | resin, round(seconds / SECONDS_PER_HOUR, 2), _fitting(bbox))


def weigh(addition: AdditionFacts) -> AdditionFacts:
    """With the grams of resin that its volume adds, or saves."""
    return replace(addition, resin_grams=round(RESIN_DENSITY * addition.volume_mm3 / 1000, 1))


def _fitting(bbox: tuple[float, float, float]) -> tuple[str, ...]:
    """The printers that hold a box so large, turned by a quarter about z where that helps."""
    x, y, z = bbox
    return tuple(
        name
        for name, (width, depth, height) in BEDS_MM.items()
        if z <= height and min(x, y) <= min(width, depth) and max(x, y) <= max(width, depth)
    )
