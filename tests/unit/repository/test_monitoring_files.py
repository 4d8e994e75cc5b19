"""The Grafana board and the alert rules: every expression is PromQL, every metric and label in it is one of ours."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

ROOT = Path(__file__).parents[3]
BOARD = ROOT / "deploy" / "grafana" / "ai-engine.json"
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yaml"
OF_PROMETHEUS = {"job", "le"}


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(BOARD.read_text(encoding="utf-8"))["panels"]
    return found


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def expressions() -> list[str]:
    """All of them, with what Grafana fills in."""
    board = [target["expr"] for panel in panels() for target in panel["targets"]]
    filled = [one.replace("$__rate_interval", "5m").replace("$job", ".*") for one in board]
    return filled + [rule["expr"] for rule in rules()]


def known_labels() -> dict[str, set[str]]:
    """The labels of each metric, as the operator's page has them; the page is held to the code elsewhere."""
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    found = re.findall(r"`(ai_engine_\w+)(?:\{([^}]*)\})?`", page)
    return {name: set(re.findall(r"\w+", labels)) for name, labels in found}


@pytest.mark.parametrize("expression", expressions())
def test_every_expression_is_promql_of_our_metrics_and_labels(expression: str) -> None:
    promql_parser.parse(expression)

    metrics = known_labels()
    names = [re.sub(r"_(bucket|sum|count)$", "", name) for name in re.findall(r"\bai_engine_\w+", expression)]
    assert names
    assert [name for name in names if name not in metrics] == []
    matched = re.findall(r"(\w+)\s*=~?\s*\"", expression)
    grouped = [
        label for group in re.findall(r"by \(([^)]*)\)", expression) for label in re.findall(r"\w+", group)
    ]
    assert {*matched, *grouped} <= set.union(OF_PROMETHEUS, *(metrics[name] for name in names))


def test_every_metric_is_on_the_board_or_needs_no_panel() -> None:
    shown = " ".join(target["expr"] for panel in panels() for target in panel["targets"])
    absent = {name for name in known_labels() if name not in shown}
    # The version; and what another panel shows as a level or a share.
    assert absent == {
        "ai_engine_build_info",
        "ai_engine_deliveries_waiting",
        "ai_engine_deliveries_postponed_total",
        "ai_engine_requests_refused_total",
        "ai_engine_worker_device_busy_seconds_total",
    }


def test_panels_do_not_lie_on_each_other() -> None:
    cells = [
        (x, y)
        for panel in panels()
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in panels()}) == len(panels())


def test_every_alert_says_what_is_wrong_and_what_to_do() -> None:
    assert len(rules()) >= 6
    for rule in rules():
        assert rule["annotations"].keys() == {"summary", "action"}, rule["alert"]
        assert rule["labels"]["severity"] in ("info", "warning", "critical")
        assert re.fullmatch(r"AIEngine\w+", rule["alert"])
