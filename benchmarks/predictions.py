"""What was expected of each row before it was run for the first time; RESULTS.md says where it missed, and why.

Counted in multiply-adds: a token of the denoiser costs 25.2 MFLOP a block in matrices and 4.1 kFLOP a key in attention
at width 1024. v2-0 has 4442 tokens beside a picture, mini 1882; with the empty context folded 3073 and 513.
"""

from __future__ import annotations

PREDICTIONS = {
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
    "remover": "isnet-general-use 4.4 CPU s a picture on one thread (as reported), 2.3 wall s on two; embedded model "
    "0.25 with GrabCut, 0.02 without",
    "cpu": "embedded model, image to STL at octree 128 on one core: 4 CPU s, of it decoding 60 %; imports 3 s",
}
