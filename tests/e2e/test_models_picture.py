"""docs/models.png: what GET /models answers of one model of each family, as a table."""

from __future__ import annotations

import html
import os
from typing import Any

import pytest
from playwright.sync_api import Browser
from service.house import ROOT, House
from service.test_families import families_house

__all__ = ["families_house"]

STYLE = """
body { font: 14px/1.45 system-ui, sans-serif; margin: 20px; color: #22201c; background: #fdfcfa; width: 1180px }
h1 { font: 600 15px ui-monospace, monospace }
td, th { text-align: left; vertical-align: top; padding: 7px 14px 7px 0 }
table { border-collapse: collapse; width: 100% }
tr + tr { border-top: 1px solid #e0dbd0 }
small { color: #6a655c; display: block }
"""
COLUMNS = (
    "name",
    "card.model_id",
    "card.licences",
    "card.territory_excluded",
    "card.memory_bytes",
    "defaults",
    "workers",
)


@pytest.mark.skipif(
    os.environ.get("STUDIO_SCREENSHOTS") != "1", reason="STUDIO_SCREENSHOTS=1 writes docs/models.png"
)
def test_pictures_of_the_models_are_taken(browser: Browser, families_house: House) -> None:
    answer = families_house.ask("GET", "/models").json
    page = browser.new_page(viewport={"width": 1220, "height": 400})
    page.set_content(table_of(answer))
    page.screenshot(path=ROOT / "docs" / "models.png", full_page=True)
    page.close()


def table_of(answer: dict[str, Any]) -> str:
    head = "".join(f"<th>{column}</th>" for column in COLUMNS)
    rows = "".join(f"<tr>{''.join(cells_of(one, answer['default']))}</tr>" for one in answer["models"])
    return f"<style>{STYLE}</style><h1>GET /models</h1><table><tr>{head}</tr>{rows}</table>"


def cells_of(model: dict[str, Any], default: str) -> list[str]:
    card = model["card"]
    licences = "".join(
        f"<small>{html.escape(one['part'])}: {html.escape(one['name'])}, {one['seen_on']}</small>"
        for one in card["licences"]
    )
    excluded = len(card["territory_excluded"])
    texts = (
        f"<b>{model['name']}</b>{'<small>default</small>' if model['name'] == default else ''}",
        f"{card['model_id']}<small>{html.escape(card['title'])}</small>",
        licences,
        f"{excluded} countries" if excluded else "none",
        f"{card['memory_bytes'] / 1e9:.1f} GB",
        f"{card['num_inference_steps']} steps<small>guidance {card['guidance_scale']:g}, "
        f"{'four views' if len(card['views']) > 1 else 'one view'}</small>",
        "<br>".join(f"{one['device']}<small>{one['state']}</small>" for one in model["workers"]),
    )
    return [f"<td>{text}</td>" for text in texts]
