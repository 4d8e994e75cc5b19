"""All that needs a GPU, part by part: `python -m benchmarks.gpu --json results.json --seconds 570`.

In the order of a first hour on a card (docs/gpu.md): what must be true, threads and graphs, bytes of weights, kernels,
compiling, calls and glue of a decode, shortage of memory; then what is claimed to be fast. Each part is a process of
its own with a limit. The file is written after each part, with what a part had finished when it was stopped; the same
command goes on with those not done, the ones not tried yet first. One table at the end holds what decides.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.measuring import Table, machine, write_json
from benchmarks.predictions import CARD_ESTIMATES, CARDS, HEADER

LEAST_S = 20.0
"""Less is not worth a part's start."""
TAIL = 4000


@dataclass(frozen=True)
class Part:
    """A Python module to run, and the most seconds it may take. `has_tables`: it takes `--json`."""

    name: str
    module: tuple[str, ...]
    limit_s: float
    has_tables: bool = False


def _tests(name: str, *paths: str) -> Part:
    return Part(name, ("pytest", "-m", "slow or not slow", "-p", "no:cacheprovider", *paths), 300)


def _rows(name: str, *arguments: str, limit_s: float = 300) -> Part:
    return Part(name, ("benchmarks", *arguments, "--device", "cuda"), limit_s, has_tables=True)


def _step(name: str, step: str, limit_s: float = 300) -> Part:
    return Part(name, ("benchmarks.card", step), limit_s, has_tables=True)


PARTS = (
    _tests("1 the reference's numbers, sparse equals dense", "tests/parity"),
    _tests(
        "1 weights in turns, float8, kernels, compiled twins",
        "tests/unit/hy3dgen/weights",
        *(f"tests/unit/hy3dgen/runtime/test_{name}.py" for name in ("attention", "warm_up")),
    ),
    _step("2 threads and graphs of twelve jobs", "threads", limit_s=540),
    _step("3 bytes of the weights", "bytes"),
    _step("4 kernels of a step", "kernels"),
    _rows("5 compiling", "compile"),
    _step("6 calls and glue of a decode", "calls"),
    _step("7 shortage of memory", "shortage", limit_s=540),
    _rows("a job of v2-0, octree 256", "job", "--variant", "v2-0", "--resolution", "256"),
    _rows("a job of v2-0-turbo, octree 256", "job", "--variant", "v2-0-turbo", "--resolution", "256"),
    _rows("decode, 256", "decode", "--resolution", "256"),
    _rows("decode, 512", "decode", "--resolution", "512"),
    _rows("denoise, v2-0", "denoise", "--variant", "v2-0", limit_s=580),
    _rows("a job of v2-0, octree 512", "job", "--variant", "v2-0", "--resolution", "512"),
    _rows("start, v2-0", "start", "--variant", "v2-0", limit_s=420),
    _rows("memory", "memory", limit_s=420),
    _rows("throughput", "throughput", limit_s=420),
    _rows("options", "options"),
)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", type=Path, default=Path("gpu.json"), help="results, read and written")
    parser.add_argument("--seconds", type=float, default=3600, help="for this call, all parts together")
    parser.add_argument("--only", nargs="+", default=[], metavar="WORD", help="parts with a word in the name")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("PyTorch sees no GPU here: nothing was measured")
    parts = [part for part in PARTS if not options.only or any(word in part.name for word in options.only)]
    told = run_parts(parts, options.json, options.seconds, machine(torch.device("cuda")))
    print("\n".join(f"{one['status']:12} {one['seconds']:6.0f} s  {name}" for name, one in told.items()))
    print(f"\n{deciding_table(told)}")


def deciding_table(told: Mapping[str, Any]) -> Table:
    """What decides, of all parts that measured it, in their order; of a job what was reckoned for each card."""
    tables = [table for one in told.values() for section in one["sections"] for table in section["tables"]]
    rows = tuple(tuple(row) for table in tables if tuple(table["header"]) == HEADER for row in table["rows"])
    estimates = tuple(("C", name, " / ".join(map(str, row)), "-") for name, row in CARD_ESTIMATES.items())
    return Table(
        "What decides", HEADER, rows + estimates, f"C: reckoned for {', '.join(CARDS)}; see the job's rows."
    )


def run_parts(
    parts: Sequence[Part],
    path: Path,
    seconds: float,
    where: str,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, Any]:
    """Runs what is not done yet according to `path`, as far as the seconds reach; what is known of each part."""
    ends_at = clock() + seconds
    told: dict[str, Any] = json.loads(path.read_text())["parts"] if path.exists() else {}
    left = [part for part in parts if told.get(part.name, {}).get("status") != "done"]
    for part in sorted(left, key=lambda part: part.name in told):
        if ends_at - clock() < LEAST_S:
            break
        print(f"\n# {part.name}", flush=True)
        told[part.name] = _run(part, min(part.limit_s, ends_at - clock()))
        write_json(path, {"machine": where, "parts": told})
    return told


def _run(part: Part, limit_s: float) -> dict[str, Any]:
    begun_s = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        tables, output = Path(folder) / "tables.json", Path(folder) / "output"
        command = [sys.executable, "-m", *part.module, *(["--json", str(tables)] if part.has_tables else [])]
        status = _finished(command, output, limit_s)
        told = {
            "status": status,
            "seconds": time.monotonic() - begun_s,
            "command": " ".join(part.module),
            "sections": json.loads(tables.read_text())["sections"] if tables.exists() else [],
            "output": output.read_text(errors="replace")[-TAIL:],
        }
    print(told["output"], f"-> {status}", flush=True)
    return told


def _finished(command: list[str], output: Path, limit_s: float) -> str:
    """How it ended: done, failed, or stopped, with all its children, when the time was over."""
    with output.open("wb") as file:
        process = subprocess.Popen(
            command, stdout=file, stderr=subprocess.STDOUT, env=_environment(), start_new_session=True
        )
        try:
            return "done" if process.wait(limit_s) == 0 else "failed"
        except subprocess.TimeoutExpired:
            return "out of time"
        finally:
            _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):  # all of them have ended
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _environment() -> dict[str, str]:
    """Tests go to the GPU; what is compiled is kept for the parts that follow."""
    kept = Path(tempfile.gettempdir()) / "ai-engine-compiled"
    return os.environ | {
        "TEST_DEVICE": "cuda",
        "TORCHINDUCTOR_CACHE_DIR": os.environ.get("TORCHINDUCTOR_CACHE_DIR", str(kept / "inductor")),
        "TRITON_CACHE_DIR": os.environ.get("TRITON_CACHE_DIR", str(kept / "triton")),
    }


if __name__ == "__main__":
    main()
