"""What was expected of each row before it was run for the first time; RESULTS.md says where it missed, and why.

Counted in multiply-adds: a token of the denoiser costs 25.2 MFLOP a block in matrices and 4.1 kFLOP a key in attention
at width 1024. v2-0 has 4442 tokens beside a picture, mini 1882; with the empty context folded 3073 and 513.
"""

from __future__ import annotations

from typing import Any

PREDICTIONS = {
    "bombs": "at most 2 CPU s and 600 MB a file; a job beside four of them waits for at most two more",
    "denoise": "mini: 1.65x over 50 steps (2.97 against 1.82 TFLOP a step, and 49 calls for 50); v2-0 on a CPU: 1.27x; "
    "v2-0 on a GPU, where attention repeats the folded key: 1.2x eager, 1.5x compiled",
    "options": "IoU with the exact result on the embedded model: guidance in (0.1, 0.9) 0.97, every other step 0.98, "
    "float8 matrices 0.97, float8 storage 0.93, bfloat16 0.99; saved of the network's work: 5 %, 12 %",
    "compile": "embedded model on a CPU: denoising 1.3x, decoding 1.1x; the first start a minute "
    "longer, the second 10 s",
    "samplers": "against the exact flow on the embedded model: Adams on an even grid with a short first step as "
    "close at 16 calls as Euler at 49, at 12 a third further off; denser grids at either end no "
    "better than the even one",
    "decode": "20x to 60x at 256 (see spec: queries, not glue, decide)",
    "families": "a job against the plain pair, by multiply-adds: TripoSG 1.08x (cross-attention of one side, keys and "
    "values), Step1X-3D 1.35x (10.7 against 14.0 TFLOP a step, 49 calls for 50), 2.1 1.11x; points a second on a CPU: "
    "TripoSG and 2.1 as v2-0 within a fifth, Step1X-3D 1.7x that. A job on an H200 in float16 at 400 TFLOP/s: TripoSG "
    "1.5 s, Step1X-3D 1.3 s, 2.1 4.1 s",
    "start": "port open in 0.8 s; a mini file readable at 90 % of the page cache's rate as float16, 40 % as float32; "
    "first job 3x a warm one without a warm-up, 1.2x with",
    "memory": "process peak while loading: the file's size, and below it where the numbers need no "
    "conversion; of MEMORY=low half of all weights, of minimal a tenth",
    "job": "embedded model, octree 128, image to STL, one core: 4x less than today's pattern",
    "throughput": "stand-in with 0.5 s a job on the device: 95 % of the sum of its device stages; embedded model on "
    "two cores: 80 %, since there the device is the processor that does all else too",
    "variants": "CPU s of 700,000 faces: format 1.5, height 1.5, base with a text 5, ring 5, hollow 8, all three 12; "
    "at most 700 MB above the mesh; the metric of device seconds stays what the job itself left",
    "remover": "isnet-general-use 4.4 CPU s a picture on one thread (as reported), 2.3 wall s on two; embedded model "
    "0.25 with GrabCut, 0.02 without",
    "cpu": "embedded model, image to STL at octree 128 on one core: 4 CPU s, of it decoding 60 %; imports 3 s",
}

HEADER = ("step", "what decides", "reckoned", "found")
"""Of tables that decide a question of the first hour on a card."""

CARDS = ("T4", "3090", "4090", "5090", "A100", "H100")
CARD_ESTIMATES: dict[str, tuple[float, ...]] = {
    "encoder, ms": (190, 73, 37, 27, 23, 12),
    "step eager, ms": (880, 303, 140, 105, 94, 44),
    "49 steps eager, s": (43, 14.8, 6.9, 5.2, 4.6, 2.2),
    "49 steps compiled, s": (39, 13.6, 5.8, 4.5, 4.0, 1.8),
    "shape tokens, ms": (95, 34, 15, 12, 10, 5),
    "decode 256, s": (1.3, 0.49, 0.24, 0.19, 0.18, 0.10),
    "decode 512, s": (4.6, 1.7, 0.79, 0.61, 0.55, 0.29),
    "job eager, s": (45, 15.4, 7.2, 5.4, 4.8, 2.3),
    "job compiled, s": (41, 14.2, 6.1, 4.7, 4.2, 1.9),
    "v2-0-turbo, 5 steps, s": (2.6, 0.89, 0.41, 0.31, 0.27, 0.13),
}
"""v2-0, float16, 50 steps, octree 256, reckoned to a fourth from 15.6 TFLOP and 30 GB a step at assumed rates.

Rates of T4 .. H100: matrices 28, 62, 150, 190, 235, 550 TFLOP/s, attention 15, 55, 140, 175, 180, 400 TFLOP/s, memory
0.25, 0.8, 0.9, 1.5, 1.6, 2.7 TB/s. Before the context without a picture was merged (6 % of a step less).
"""

DECIDING: dict[str, dict[Any, Any]] = {
    "kernels": {"seen": "1158, 26 on an H100", "blank": "below 1222, 18 on an H100"},
    "step_ms": dict(zip(CARDS, CARD_ESTIMATES["step eager, ms"], strict=True)),
    "decode_s": dict(zip(CARDS, CARD_ESTIMATES["decode 256, s"], strict=True)),
    "glue_ms": {256: "15 to 20 (38 before)", 512: "30 to 40 (75 before)"},
    "fits": {(6, "full"): "gpu_out_of_memory"},
}
"""What was reckoned of each step of `benchmarks.card`."""


def card_column(machine: str) -> str:
    """The column of estimates for a machine's card: its own, else that of an H100, which later ones resemble most."""
    return next((card for card in CARDS if card in machine), "H100")
