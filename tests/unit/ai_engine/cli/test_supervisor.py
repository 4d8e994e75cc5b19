from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from ai_engine.cli.supervisor import FIRST_PAUSE_S, Child, supervise
from ai_engine.errors import SlotTaken, StartupError

ROOT = Path(__file__).resolve().parents[4]


def wait_until(is_so: Callable[[], bool]) -> None:
    ends_at = time.monotonic() + 120
    while not is_so():
        assert time.monotonic() < ends_at
        time.sleep(0.02)


def test_a_child_that_dies_is_started_again_after_longer_and_longer_pauses(tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    child = Child("mortal", [sys.executable, "-S", "-c", f"open({str(marks)!r}, 'a').write('x')"])
    stop = threading.Event()
    thread = threading.Thread(target=supervise, args=([child], stop), kwargs={"drain_s": 0.0})
    thread.start()

    wait_until(lambda: marks.exists() and len(marks.read_text()) >= 3)
    stop.set()
    thread.join(60)

    assert child.pause_s >= 4 * FIRST_PAUSE_S


def test_a_child_that_says_that_it_cannot_start_ends_them_all_with_its_status(tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    code = f"open({str(marks)!r}, 'a').write('x'); raise SystemExit({StartupError.exit_status})"
    unable = Child("unable", [sys.executable, "-S", "-c", code])
    other = Child("other", [sys.executable, "-S", "-c", "import time; time.sleep(300)"])

    status = supervise([other, unable], threading.Event(), drain_s=0.0)

    assert status == StartupError.exit_status
    assert marks.read_text() == "x"
    assert other.process is not None
    assert other.process.returncode is not None


def test_a_taken_slot_is_tried_again() -> None:
    assert SlotTaken.exit_status != StartupError.exit_status


def test_a_child_told_to_stop_may_finish_first(tmp_path: Path) -> None:
    began, finished = tmp_path / "began", tmp_path / "finished"
    code = (
        "import signal, sys, time, pathlib\n"
        f"signal.signal(signal.SIGTERM, lambda *_: (pathlib.Path({str(finished)!r}).touch(), sys.exit(0)))\n"
        f"pathlib.Path({str(began)!r}).touch()\n"
        "time.sleep(300)"
    )
    child = Child("polite", [sys.executable, "-S", "-c", code])
    stop = threading.Event()
    thread = threading.Thread(target=supervise, args=([child], stop), kwargs={"drain_s": 60.0})
    thread.start()

    wait_until(began.exists)
    stop.set()
    thread.join(60)

    assert finished.exists()
    assert child.process is not None
    assert child.process.returncode == 0


def test_a_child_notices_that_its_supervisor_is_gone(tmp_path: Path) -> None:
    code = (
        "import threading\n"
        "from ai_engine.cli.supervisor import when_orphaned\n"
        "gone = threading.Event()\n"
        "when_orphaned(gone.set)\n"
        "print('watching', flush=True)\n"
        "gone.wait(120) and print('orphaned', flush=True)"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdin is not None

    assert child.stdout.readline() == "watching\n"
    child.stdin.close()

    assert child.stdout.readline() == "orphaned\n"
    child.stdout.close()
    assert child.wait(60) == 0
