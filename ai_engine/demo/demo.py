"""`python main.py demo`: one picture to a mesh at a webhook, everything on this machine, as a caller would do it.

Starts the service with a data folder of its own, is its caller and its webhook, looks hard at what arrives,
leaves a mesh and a strip of pictures, and stops everything. The models are those of the environment, or the
embedded ones.
"""

from __future__ import annotations

import hashlib
import json
import queue
import sys
import time
from pathlib import Path
from typing import Any

from PIL import Image
from standardwebhooks import Webhook, WebhookVerificationError

from ai_engine.cli.endings import EXIT_INTERRUPTED, signals_interrupt
from ai_engine.cli.progress_bars import StageBars
from ai_engine.demo.peer import DemoPeer, ReceivedWebhook, demo_peer
from ai_engine.demo.picture_strip import picture_strip
from ai_engine.demo.service import DemoFailed, DemoService, running_service, wait_until_ready
from ai_engine.engine.engine import asset_id_of
from ai_engine.engine.remote import read_events
from ai_engine.images.cutout import Cutout
from ai_engine.images.image_file import read_picture
from ai_engine.mesh.mesh import Mesh
from ai_engine.mesh_files.stl import read_stl
from ai_engine.printing.report import report
from ai_engine.settings import find_shipped

SAMPLE_PICTURE = find_shipped("examples/pictures/vase.png")
SEED = 1
JOB_WITHIN_S = 900.0
WEBHOOK_WITHIN_S = 60.0


def run_demo(image: str | None = None, out: Path = Path("demo")) -> int:
    """Runs the demo on the picture at the path or URL `image`, writes into `out`; the exit status."""
    try:
        with signals_interrupt():
            _demonstrate(image, out)
    except DemoFailed as error:
        print(f"\n!! {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return EXIT_INTERRUPTED
    return 0


def _demonstrate(image: str | None, out: Path) -> None:
    picture = None if image is not None and _is_url(image) else _read_picture(Path(image or SAMPLE_PICTURE))
    with demo_peer(picture) as peer, running_service() as service:
        picture_url = peer.picture_url if picture is not None else str(image)
        asset_id = asset_id_of(image or str(SAMPLE_PICTURE))
        wait_until_ready(service)
        job = _follow(service, _submit(service, peer, picture_url, asset_id))
        delivery = _await_delivery(peer)
        mesh = _check_delivery(delivery, service, job)
        strip = _strip(service.data_dir / "jobs" / job["job_id"], mesh)
        stl_path, png_path = _write(out, asset_id, delivery, strip)
    _print_summary(job, mesh, stl_path, png_path)


def _is_url(image: str) -> bool:
    return image.lower().startswith(("http://", "https://"))


def _read_picture(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DemoFailed(f"the picture {path} can't be read: {error.strerror}") from error


def _submit(service: DemoService, peer: DemoPeer, picture_url: str, asset_id: str) -> str:
    """The id of the job."""
    request = {
        "session_id": "demo",
        "asset_id": asset_id,
        "image_url": picture_url,
        "webhook_url": peer.webhook_url,
        "seed": SEED,
    }
    answer = service.client.post("/generate-3d", json=request)
    if answer.status_code != 202:
        raise DemoFailed(f"the service refused the job with {answer.status_code}: {answer.text}")
    return str(answer.json()["job_id"])


def _follow(service: DemoService, job_id: str) -> dict[str, Any]:
    """The job when it is over, its stages shown meanwhile."""
    bars, deadline = StageBars(sys.stdout), time.monotonic() + JOB_WITHIN_S
    job: dict[str, Any] | None = None
    with service.client.stream("GET", f"/jobs/{job_id}/events") as response:
        for _, name, data in read_events(response.iter_lines()):
            if name == "done":
                job = data
                break
            bars.show(data["stage"], data["done"], data["total"])
            if time.monotonic() > deadline:
                raise DemoFailed(f"the job took longer than {JOB_WITHIN_S:.0f} s")
    bars.close()
    if job is None:
        raise DemoFailed("the stream of events ended before the job did")
    if job["status"] != "succeeded":
        raise DemoFailed(f"the job {job['status']}: {job['error']['detail']} ({job['error']['code']})")
    return job


def _await_delivery(peer: DemoPeer) -> ReceivedWebhook:
    try:
        return peer.deliveries.get(timeout=WEBHOOK_WITHIN_S)
    except queue.Empty:
        raise DemoFailed(f"no webhook came within {WEBHOOK_WITHIN_S:.0f} s") from None


def _check_delivery(delivery: ReceivedWebhook, service: DemoService, job: dict[str, Any]) -> Mesh:
    """The mesh that was delivered, after everything a careful receiver would look at."""
    event = delivery.values.get("event", "")
    try:
        Webhook(service.webhook_secret).verify(event, delivery.headers)
    except WebhookVerificationError as error:
        raise DemoFailed(f"the webhook's signature is not right: {error}") from error
    said = json.loads(event)
    if said["type"] != "generation.succeeded" or delivery.values["status"] != "completed":
        raise DemoFailed(f"the webhook's event is {said['type']}")
    if delivery.file is None or said["data"]["job_id"] != job["job_id"]:
        raise DemoFailed("the webhook brought no file, or that of another job")
    artifact = said["data"]["artifact"]
    if hashlib.sha256(delivery.file).hexdigest() != artifact["sha256"]:
        raise DemoFailed("the file is not the one that the webhook's event describes")
    return _read_printable(delivery.file)


def _read_printable(file: bytes) -> Mesh:
    mesh = read_stl(file)
    found = report(mesh)
    if not found.is_watertight or found.volume <= 0:
        raise DemoFailed(f"the mesh can't be printed: {' '.join(found.warnings)}")
    return mesh


def _strip(job_files: Path, mesh: Mesh) -> Image.Image:
    cutout = Cutout.from_png((job_files / "cutout.png").read_bytes())
    picture = read_picture((job_files / "picture").read_bytes())
    return picture_strip(picture, cutout, mesh)


def _write(out: Path, asset_id: str, delivery: ReceivedWebhook, strip: Image.Image) -> tuple[Path, Path]:
    assert delivery.file is not None
    out.mkdir(parents=True, exist_ok=True)
    stl_path, png_path = out / f"{asset_id}.stl", out / f"{asset_id}.png"
    stl_path.write_bytes(delivery.file)
    strip.save(png_path, "PNG", optimize=True)
    return stl_path, png_path


def _print_summary(job: dict[str, Any], mesh: Mesh, stl_path: Path, png_path: Path) -> None:
    timings: dict[str, float] = job["timings_s"]
    print("\nseconds per stage")
    for name, seconds in timings.items():
        print(f"  {name:<9}{seconds:8.2f}")
    print(f"  {'in all':<9}{sum(timings.values()):8.2f}")
    print(
        f"\nmesh      {len(mesh.faces):,} faces, closed; signed webhook verified; model {job['model']['id']}"
    )
    print(f"file      {stl_path.resolve()} ({stl_path.stat().st_size / 1e6:.1f} MB)")
    print(f"pictures  {png_path.resolve()}")
