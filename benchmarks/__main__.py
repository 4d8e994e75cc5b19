"""One command, one page of tables: `python -m benchmarks [section ...]`.

denoise      a step of the denoiser, today's pattern against ours, at a published size
families     a guided step, points a second and memory of TripoSG, Step1X-3D and Hunyuan3D-2.1 at their published sizes
decode       points asked, extraction, memory and time of sparse decoding; with a GPU its time alone
finish       making a mesh ready for print (benchmarks.finish)
job          picture to STL: today's pattern against ours
options      what is saved, and how far from the exact shape, by options that are off by default
samplers     how close each sampler comes to the exact flow, by network calls
compile      what compiling brings
start        imports, port, reading a checkpoint, the first job against a warm one
memory       the most memory while loading and working, on small cards too
throughput   jobs an hour of the whole service against its device stages alone
service      the device's share, a submission, a long queue, memory (benchmarks.service)
remover      background removal on the CPU, seconds a picture at one and two threads
variants     finishing a mesh of 700,000 faces again: seconds, memory, and no second on the device
bombs        the dearest picture files of up to 20 MB, and a job beside them
cpu          the embedded model on one core: where the time goes

Without names all but `bombs`, `families`, `samplers`, `variants`, `decode`, `finish` and `service`, which take long.
What needs a GPU says so where there is none; `python -m benchmarks.gpu` runs all of that where there is one.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from benchmarks.measuring import Asked, Table, machine, write_json
from benchmarks.predictions import PREDICTIONS

OWN = ("denoise", "job", "options", "compile", "start", "memory", "throughput", "remover", "cpu")
MODULES = {name: name for name in (*OWN, "bombs", "decode", "families", "samplers", "variants")} | {
    "compile": "compiling"
}
DELEGATED = ("finish", "service")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "sections", nargs="*", metavar="section", choices=[*MODULES, *DELEGATED, []], default=[]
    )
    parser.add_argument(
        "--variant",
        help="a published name, e.g. v2-0, v2-0-turbo, v2-mini; tiny where it can; of families: triposg, ...",
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--steps", type=int, help="of a job")
    parser.add_argument("--resolution", type=int, help="octree cells a side")
    parser.add_argument("--rounds", type=int, help="of what is timed in turns (denoise, decode)")
    parser.add_argument("--json", type=Path, help="write all tables there too, each as soon as it is there")
    options = parser.parse_args()
    asked = Asked(
        torch.device(options.device), options.variant, options.steps, options.resolution, options.rounds
    )
    if not asked.is_gpu:
        torch.set_num_threads(1)
    print(f"{machine(asked.device)}\n", flush=True)
    told: list[dict[str, Any]] = []
    for name in options.sections or OWN:
        told.append({"name": name, "expected": PREDICTIONS.get(name), "tables": []})
        for table in _tables(name, asked):
            print(table, flush=True)
            told[-1]["tables"].append(asdict(table))
            if options.json:
                write_json(options.json, {"machine": machine(asked.device), "sections": told})


def _tables(name: str, asked: Asked) -> Iterator[Table]:
    print(f"## {name}\n\nExpected: {PREDICTIONS.get(name, '-')}.\n", flush=True)
    if name in DELEGATED:
        subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=True)
        return
    yield from import_module(f"benchmarks.{MODULES[name]}").tables(asked)


if __name__ == "__main__":
    main()
