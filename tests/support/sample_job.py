"""A job for tests that need any."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any

from ai_engine.facts import PrintFacts
from ai_engine.job import Job, JobOptions
from ai_engine.printing.report import report
from support.solid_shapes import cube


def job(**changes: Any) -> Job:
    fields: dict[str, Any] = {
        "job_id": uuid.uuid4().hex,
        "session_id": "s1",
        "asset_id": "a1",
        "image_url": "https://example.com/a.png",
        "image": None,
        "webhook_url": None,
        "webhook_format": "multipart",
        "options": JobOptions(seed=1),
        "remove_background": "auto",
        "format": "stl",
        "priority": 0,
        "timeout_s": 900.0,
        "accepted_at_s": 1.0,
        "request_sha256": "0" * 64,
    }
    return Job(**fields | changes)


def print_facts(**changes: Any) -> PrintFacts:
    """What the report says of a cube, but for `changes`."""
    return replace(report(cube(side=1.0)).facts(), **changes)
