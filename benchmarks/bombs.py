"""What the dearest picture files of up to 20 MB cost, and what a job beside them notices.

Seconds of the processor and memory are of one process that reads the file as a worker does. "Beside" is a job of
another key on a worker that has just been given four such files: seconds from its submission to its webhook.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
import time
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from PIL import Image

from ai_engine.errors import JobError
from ai_engine.images.image_file import read_picture
from ai_engine.web.api_keys import new_key, setting_entry
from benchmarks.measuring import Asked, Table
from tests.service.house import House, Outside, wait_for
from tests.support.bombs import BOMBS
from tests.support.peak_memory import peak_kb

AT_ONCE = 4


def tables(asked: Asked) -> Iterator[Table]:
    """One row a file."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = {kind: make() for kind, make in BOMBS.items()}
        alone, beside = _beside(folder, files, asked.rounds or 3)
        rows = [
            (kind, f"{len(data) / 1e6:.1f}", *_alone(folder, data), f"{beside[kind]:.1f}")
            for kind, data in files.items()
        ]
    yield Table(
        f"A picture that costs; a job alone took {alone:.1f} s to its webhook",
        ("file", "MB", "outcome", "CPU s", "MB of memory", f"a job beside {AT_ONCE}, s"),
        tuple(rows),
    )


def _alone(folder: Path, data: bytes) -> tuple[str, ...]:
    """Outcome, processor seconds and MB of a process that reads the file."""
    path = folder / "bomb"
    path.write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.bombs", str(path)], capture_output=True, text=True, check=True
    )
    return tuple(done.stdout.split())


def _beside(folder: Path, files: dict[str, bytes], num_rounds: int) -> tuple[float, dict[str, float]]:
    """Seconds of a job alone, and beside each of the files."""
    own, other = new_key(), new_key()
    keys = f"{setting_entry('own', own)},{setting_entry('other', other)}"
    house = House(folder, {"API_KEYS": keys, "STAND_IN_STEP_S": "0.05", "REQUESTS_PER_MINUTE": "0"}, key=own)
    outside = Outside()
    try:
        house.start("serve")
        house.wait_until_ready()
        _job_s(house, outside)
        alone = median(_job_s(house, outside) for _ in range(num_rounds))
        beside = {}
        for kind, data in files.items():
            sent = _send(House(folder, port=house.port, key=other), data)
            beside[kind] = _job_s(house, outside)
            house.key = other
            for job_id in sent:
                house.wait_until_over(job_id)
            house.key = own
        return alone, beside
    finally:
        house.close()
        outside.close()


def _send(house: House, data: bytes) -> list[str]:
    """The jobs of what is not refused at once."""
    picture = "data:image/png;base64," + b64encode(data).decode()
    fields = {"session_id": "s", "asset_id": "a", "image_url": picture, "num_inference_steps": 10}
    answers = [house.ask("POST", "/generate-3d", fields) for _ in range(AT_ONCE)]
    return [answer.json["job_id"] for answer in answers if answer.status == 202]


def _job_s(house: House, outside: Outside) -> float:
    begun_s = time.monotonic()
    job_id = house.submit(
        image_url=outside.url("/a.png"), webhook_url=outside.url("/hook"), num_inference_steps=10
    )
    wait_for(
        lambda: any(post.headers["webhook-id"].startswith(job_id) for post in outside.posts("/hook")),
        "it came",
    )
    return time.monotonic() - begun_s


def _read(path: Path) -> str:
    small = io.BytesIO()
    Image.new("RGBA", (64, 64)).save(small, "PNG")
    read_picture(small.getvalue())
    data, before_kb, begun_s, outcome = path.read_bytes(), peak_kb(), time.process_time(), "read"
    try:
        read_picture(data)
    except JobError as error:
        outcome = error.code
    return f"{outcome} {time.process_time() - begun_s:.2f} {(peak_kb() - before_kb) // 1000}"


if __name__ == "__main__":
    print(_read(Path(sys.argv[1])))
