"""Prints the part of the API document that the page reads: the schemas of the answers, for `npm run types`."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ai_engine.api.app import create_app
from ai_engine.settings import Settings

READ = (
    "CutOutView",
    "MattingModels",
    "ServedModels",
    "JobView",
    "JobList",
    "Accepted",
    "Health",
    "Readiness",
    "Licences",
    "Problem",
    "Operations",
    "DeliveryList",
    "Redelivered",
    "WebhookEvent",
)


def schemas() -> dict[str, Any]:
    """An OpenAPI document without routes: the schemas in READ, and those that they refer to."""
    document = create_app(Settings(_env_file=None)).openapi()
    known, wanted, kept = document["components"]["schemas"], list(READ), {}
    while wanted:
        name = wanted.pop()
        if name not in kept:
            kept[name] = known[name]
            wanted += re.findall(r'"#/components/schemas/(\w+)"', json.dumps(known[name]))
    info = {"title": document["info"]["title"], "version": document["info"]["version"]}
    return {"openapi": document["openapi"], "info": info, "paths": {}, "components": {"schemas": kept}}


if __name__ == "__main__":
    print(json.dumps(schemas(), indent=1, sort_keys=True))
