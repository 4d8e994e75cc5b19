"""What sparse decoding saves: `python -m benchmarks.decode [queries|extraction|memory|decode ...]`.

queries      points asked, against every point and against the published hierarchical rule with its bugs mended
extraction   CPU seconds of one thread from field to mesh, against scikit-image on the dense volume
memory       bytes of the field against the dense volume, and growth of the process while decoding
decode       the whole decode through a geometry decoder of the published size, against today's dense pattern

All ratios are of numbers from one run. The bodies are those of tests/fields.py; logits saturate over tau = 0.03.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product

import numpy as np
import torch
from skimage.measure import marching_cubes
from torch import Tensor
from torch.nn import functional

from benchmarks.measuring import Asked, Row, Table, in_turns, machine
from hy3dgen.field.decode_options import DecodeOptions, Mode
from hy3dgen.field.field_query import MIN_POINTS_PER_CALL
from hy3dgen.field.marching_cubes import extract_surface
from hy3dgen.field.octree import decode_field
from hy3dgen.field.sparse_field import DecodeReport, SparseField
from hy3dgen.networks.vecset_decoder import GeometryDecoder, VAEConfig
from hy3dgen.runtime.compiled import FixedShapes
from tests.support.dense_twin import dense_field
from tests.support.fields import BODIES, BOX, LEVEL, field_of

Ask = Callable[[Tensor, Tensor, Tensor], Tensor]
SECTIONS = ("queries", "extraction", "memory", "decode")
MODES: tuple[Mode, ...] = ("fast", "strict")
DENSE_POINTS_PER_CALL, LARGE_CALL = 8000, 65_536
SAMPLED_DENSE_CALLS = 3
LARGE_BODIES = ("plate", "70 small spheres", "solid")
EXTRACTED_LARGE_BODIES = tuple(name for name in BODIES if name != "70 small spheres")

PUBLISHED_DECODER = VAEConfig(
    latent_channels=64,
    width=1024,
    num_heads=16,
    num_layers=16,
    num_frequencies=8,
    qkv_bias=False,
    qk_norm=True,
    geo_width=1024,
    geo_heads=16,
    geo_mlp_ratio=4,
    geo_has_ln_post=True,
    geo_qk_norm=True,
)
PUBLISHED_TOKENS = 3072


def decode(name: str, resolution: int, mode: Mode = "fast") -> SparseField:
    options = DecodeOptions(mode, max_points_per_call=2**17)
    return decode_field(field_of(name), BOX, resolution, iso=LEVEL, device="cpu", options=options)


def measure_queries() -> Iterator[Row]:
    yield (
        *("body", "R", "dense", "rule", "fast: coarse", "asked", "dense / fast", "rule / fast"),
        *("strict: coarse", "asked", "dense / strict", "rule / strict"),
        *("beyond coarse / corners: fast", "strict", "missed cells: fast", "strict"),
    )
    for resolution, names in ((128, BODIES), (256, BODIES), (512, LARGE_BODIES)):
        for name in names:
            yield _queries_row(name, resolution, is_dense_known=True)
    yield _queries_row("solid", 1024, is_dense_known=False)


def _queries_row(name: str, resolution: int, *, is_dense_known: bool) -> Row:
    num_dense = (resolution + 1) ** 3
    fast, strict = fields = [decode(name, resolution, mode) for mode in MODES]
    num_rule, num_active = _dense_facts(name, resolution) if is_dense_known else (None, None)

    def told(field: SparseField) -> Row:
        asked = field.report.num_queries
        rule = "-" if num_rule is None else f"{num_rule / asked:.1f}x"
        return (str(field.report.coarse_resolution[0]), f"{asked:,}", f"{num_dense / asked:.1f}x", rule)

    rule = "-" if num_rule is None else f"{num_rule:,}"
    beyond = [f"{_beyond_coarse(field):.2f}" for field in fields]
    missed = ["-" if num_active is None else str(num_active - len(field.cells)) for field in fields]
    return (name, str(resolution), f"{num_dense:,}", rule, *told(fast), *told(strict), *beyond, *missed)


def _dense_facts(name: str, resolution: int) -> tuple[int, int]:
    """What the mended rule asks, and how many cells are active."""
    values = dense_field(field_of(name), BOX, resolution).values
    return mended_rule_queries(values), num_active_cells(values)


def _beyond_coarse(field: SparseField) -> float:
    report = field.report
    coarse = np.prod([cells + 1 for cells in report.coarse_resolution])
    return float((report.num_queries - report.num_probe_queries - coarse) / len(field.keys))


def num_active_cells(values: Tensor) -> int:
    """Cells whose corners lie on both sides, counted some planes at a time."""
    total = 0
    for start in range(0, len(values) - 1, 32):
        above = (values[start : start + 33] > LEVEL).half()[None, None]
        highest, lowest = functional.max_pool3d(above, 2, 1), -functional.max_pool3d(-above, 2, 1)
        total += int((highest != lowest).sum())
    return total


def mended_rule_queries(values: Tensor) -> int:
    """What the published hierarchical rule would ask, given all values: its coordinates and its level put right.

    From the first resolution of at least 63 on, doubling: points whose sign differs from one of six neighbours or
    whose value is below 0.95, grown by one and, doubled, by one (on the last level: not grown, then by two).
    """
    cells = values.shape[0] - 1
    strides = [1]
    while cells // (2 * strides[0]) >= 63 and cells % (2 * strides[0]) == 0:
        strides.insert(0, 2 * strides[0])
    asked = torch.ones((cells // strides[0] + 1,) * 3, dtype=torch.bool)
    total = asked.sum().item()
    for stride in strides[:-1]:
        shifted = values[::stride, ::stride, ::stride] - LEVEL
        near = asked & (_changes_sign(shifted) | (shifted.abs() < 0.95))
        is_last = stride == 2
        near = near if is_last else _grown(near)
        finer = torch.zeros([2 * count - 1 for count in near.shape], dtype=torch.bool)
        finer[::2, ::2, ::2] = near
        asked = _grown(_grown(finer)) if is_last else _grown(finer)
        total += asked.sum().item()
    return int(total)


def _changes_sign(values: Tensor) -> Tensor:
    above = values > 0
    changes = torch.zeros_like(above)
    for axis in range(3):
        low, high = above.narrow(axis, 0, above.shape[axis] - 1), above.narrow(axis, 1, above.shape[axis] - 1)
        differs = low != high
        changes.narrow(axis, 0, differs.shape[axis]).logical_or_(differs)
        changes.narrow(axis, 1, differs.shape[axis]).logical_or_(differs)
    return changes


def _grown(mask: Tensor) -> Tensor:
    return functional.max_pool3d(mask[None, None].float(), 3, stride=1, padding=1)[0, 0] > 0


def measure_extraction() -> Iterator[Row]:
    yield ("body", "R", "active cells", "scikit-image dense, CPU s", "ours, CPU s", "ratio")
    for resolution, names in ((256, BODIES), (512, EXTRACTED_LARGE_BODIES)):
        for name in names:
            field = decode(name, resolution)
            volume = dense_field(field_of(name), BOX, resolution).values.numpy()
            dense, sparse = interleaved(
                partial(marching_cubes, volume, LEVEL), partial(extract_surface, field)
            )
            seconds = (f"{dense:.3f}", f"{sparse:.3f}", f"{dense / sparse:.1f}x")
            yield (name, str(resolution), f"{len(field.cells):,}", *seconds)


def interleaved(*tasks: Callable[[], object], repeats: int = 3) -> list[float]:
    """The median CPU seconds of each task, run in turns after one warm-up."""
    seconds: list[list[float]] = [[] for _ in tasks]
    for _ in range(repeats + 1):
        for task, taken in zip(tasks, seconds, strict=True):
            begun = time.process_time()
            task()
            taken.append(time.process_time() - begun)
    return [statistics.median(taken[1:]) for taken in seconds]


def measure_memory() -> Iterator[Row]:
    yield (
        "body",
        "R",
        "dense volume, MB",
        "field, MB",
        "ratio",
        "all asked, MB",
        "growth of the process, MB",
    )
    cases = [*((256, name) for name in BODIES), (512, "solid"), (1024, "solid")]
    for resolution, name in cases:
        command = [sys.executable, "-m", "benchmarks.decode", "--memory-of", name, str(resolution)]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        yield tuple(output.strip().split("|"))


def memory_row(name: str, resolution: int) -> Row:
    """One row, measured in a process that does nothing else."""
    decode(name, 64)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    field = decode(name, resolution)
    growth = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e3
    dense, ours = 4 * (resolution + 1) ** 3 / 1e6, field.num_bytes / 1e6
    asked = 12 * field.report.num_queries / 1e6
    sizes = (f"{dense:.1f}", f"{ours:.1f}", f"{dense / ours:.1f}x", f"{asked:.1f}", f"{growth:.0f}")
    return (name, str(resolution), *sizes)


def measure_decode(asked: Asked, dtype: torch.dtype, modes: Sequence[Mode]) -> Iterator[Row]:
    """The network is run at its published size for its cost; random weights have no surface, so `solid` answers."""
    resolution = asked.resolution or 256
    decoder = GeometryDecoder(PUBLISHED_DECODER).to(asked.device, dtype).eval().requires_grad_(False)
    tokens = torch.randn(1, PUBLISHED_TOKENS, PUBLISHED_DECODER.width).to(asked.device, dtype)
    yield (f"{asked.device.type}, {dtype}", "R", "points asked", "padding", asked.unit, "ratio")
    num_calls = -(-((resolution + 1) ** 3) // DENSE_POINTS_PER_CALL)
    dense = num_calls * _dense_call_seconds(asked, decoder, tokens)
    told = f"dense, keys anew in each call: {num_calls} times the median of {SAMPLED_DENSE_CALLS}"
    yield (told, str(resolution), f"{(resolution + 1) ** 3:,}", "0", f"{dense:.1f}", "1")
    for (name, ask, points_per_call), mode in product(_ways(asked, decoder, tokens), modes):
        seconds, report = _sparse_seconds(asked, ask, decoder, tokens, resolution, mode, points_per_call)
        yield (
            f"sparse, {mode}, and extraction{name}",
            str(resolution),
            f"{report.num_queries:,}",
            f"{report.num_padding:,}",
            f"{seconds:.1f}" if seconds > 10 else f"{seconds:.3f}",
            f"{dense / seconds:.1f}x",
        )


@torch.no_grad()
def _dense_call_seconds(asked: Asked, decoder: GeometryDecoder, tokens: Tensor) -> float:
    points = torch.rand(1, DENSE_POINTS_PER_CALL, 3, device=tokens.device) * 2 - 1
    call = partial(_dense_call, decoder, points, tokens)
    return in_turns(asked, call, rounds=SAMPLED_DENSE_CALLS)[0]


def _dense_call(decoder: GeometryDecoder, points: Tensor, tokens: Tensor) -> None:
    decoder(points, *decoder.keys_values(tokens))


def _ways(asked: Asked, decoder: GeometryDecoder, tokens: Tensor) -> list[tuple[str, Ask, int]]:
    """What a row is called, what is asked, the points of a call."""
    if not asked.is_gpu:
        return [("", decoder, DENSE_POINTS_PER_CALL)]
    compiled = FixedShapes(decoder.forward, "geometry decoder", has_graphs=True)
    ways: list[tuple[str, Ask, int]] = [(f", calls of {LARGE_CALL:,}", decoder, LARGE_CALL)]
    for size in (DENSE_POINTS_PER_CALL, LARGE_CALL):
        key, value = decoder.keys_values(tokens)
        calls = (torch.zeros(1, count, 3, device=tokens.device) for count in (size, MIN_POINTS_PER_CALL))
        is_done = all(compiled.prepare(points, key, value) for points in calls)
        ways.append((f", {'compiled' if is_done else 'eager'}, calls of {size:,}", compiled, size))
    return ways


@torch.no_grad()
def _sparse_seconds(
    asked: Asked,
    ask: Ask,
    decoder: GeometryDecoder,
    tokens: Tensor,
    resolution: int,
    mode: Mode,
    points_per_call: int,
) -> tuple[float, DecodeReport]:
    """Keys and values, the octree, the extraction."""
    body, reports = field_of("solid").to(tokens.device), []
    options = DecodeOptions(mode, max_points_per_call=points_per_call)

    def search() -> None:
        key, value = decoder.keys_values(tokens)
        query = lambda points: body(points) + 0.0 * ask(points[None], key, value)[0]  # noqa: E731
        field = decode_field(query, BOX, resolution, iso=LEVEL, device=tokens.device, options=options)
        extract_surface(field)
        reports.append(field.report)

    is_long = not asked.is_gpu
    rounds = asked.rounds or (1 if is_long else 3)
    return in_turns(asked, search, rounds=rounds, warm_ups=0 if is_long else 1)[0], reports[-1]


def tables(asked: Asked) -> Iterator[Table]:
    """On a GPU the decode alone: points, extraction and memory do not depend on it."""
    for section in ("decode",) if asked.is_gpu else SECTIONS:
        for rows in rows_of(section, asked, MODES):
            yield Table(f"Sparse decoding: {section}", rows[0], tuple(rows[1:]))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sections", nargs="*", default=SECTIONS)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--resolution", type=int, help="of the whole decode")
    parser.add_argument("--modes", nargs="+", choices=MODES, default=MODES, help="of the whole decode")
    parser.add_argument("--memory-of", nargs=2, metavar=("BODY", "R"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.memory_of:
        print("|".join(memory_row(arguments.memory_of[0], int(arguments.memory_of[1]))))
        return
    asked = Asked(torch.device(arguments.device), resolution=arguments.resolution)
    print(machine(asked.device))
    for section in arguments.sections:
        print(f"\n{section}")
        for rows in rows_of(section, asked, arguments.modes):
            for number, row in enumerate(rows):
                print("|", " | ".join(row), "|", flush=True)
                if number == 0:
                    print("|---" * len(row) + "|")


def rows_of(section: str, asked: Asked, modes: Sequence[Mode]) -> Iterator[list[Row]]:
    """Header and rows of each table."""
    if section != "decode":
        measure = {"queries": measure_queries, "extraction": measure_extraction, "memory": measure_memory}
        yield list(measure[section]())
        return
    for dtype in (torch.float16, torch.bfloat16) if asked.is_gpu else (torch.float32,):
        yield list(measure_decode(asked, dtype, modes))


if __name__ == "__main__":
    main()
