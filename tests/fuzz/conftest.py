"""How long inputs are searched for: seconds as a part of all tests, minutes with `make fuzz`."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import HealthCheck, settings

_QUIET: dict[str, Any] = {"deadline": None, "suppress_health_check": list(HealthCheck), "database": None}
settings.register_profile("short", max_examples=12, derandomize=True, **_QUIET)
settings.register_profile("long", max_examples=1500, **_QUIET)
settings.load_profile("long" if os.environ.get("FUZZ") == "long" else "short")
IS_LONG = os.environ.get("FUZZ") == "long"
