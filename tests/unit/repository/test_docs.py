"""What README.md and docs/ say of settings, fields, codes, routes, commands and files is true."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from PIL import Image
from support.doc_tables import DOCS, ROOT, TABLES, marked, written

import main
from ai_engine.api.app import create_app
from ai_engine.api.request_schema import JobRequest
from ai_engine.settings import Settings
from ai_engine.webhooks.event_schema import WebhookEvent
from hy3dgen.families import hunyuan3d_21, step1x_3d, triposg
from hy3dgen.families.card import Card

README = (ROOT / "README.md").read_text()
API = (DOCS / "api.md").read_text()
PAGES = {
    path.name: path for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md")))
}
NOT_OURS = {
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "HF_HUB_OFFLINE"),
    *("BIND_ADDRESS", "COMPILER_PACKAGES", "FORWARDED_ALLOW_IPS"),
}
"""Variables of other programs, of compose and of the image's build."""


def texts() -> Iterator[tuple[str, str]]:
    for name, path in PAGES.items():
        yield name, path.read_text()


def code_blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as the usual Markdown viewers make them."""
    heads = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", [path.name for path in sorted(DOCS.glob("*.md"))])
def test_the_tables_of_a_page_are_those_of_the_code(page: str) -> None:
    text = (DOCS / page).read_text()
    assert written(text) == text, f"{page} is stale: run `make docs`"


def test_every_table_has_its_page() -> None:
    assert {name for _, text in texts() for name in marked(text)} == set(TABLES)


def test_a_row_that_is_missing_is_found() -> None:
    row = next(line for line in API.splitlines() if line.startswith("| `guidance_scale`"))
    assert written(API.replace(row + "\n", "")) == API


def test_every_field_code_is_explained() -> None:
    sources = [
        path.read_text() for room in ("api", "web") for path in (ROOT / "ai_engine" / room).rglob("*.py")
    ]
    codes = {code for text in sources for code in re.findall(r'code[=:"]+ ?"([a-z_]+)"', text)} - {
        "literal_error"
    }
    assert {"unknown_field", "two_pictures", "json_invalid"} <= codes
    assert [code for code in sorted(codes) if f"`{code}`" not in API] == []


def test_the_first_command_is_the_demo() -> None:
    assert code_blocks(README, "sh")[0].startswith("make demo ")


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_to_a_file_and_a_heading(page: str) -> None:
    text = PAGES[page].read_text()
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|srcset)="([^"]+)"', text)
    for target in targets:
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        path = (PAGES[page].parent / file).resolve() if file else PAGES[page]
        assert path.exists(), target
        assert not anchor or anchor in anchors(path.read_text()), target


def test_every_variable_that_a_page_names_is_a_setting() -> None:
    known = {name.upper() for name in Settings.model_fields} | NOT_OURS
    told = {
        (page, name) for page, text in texts() for name in re.findall(r"`([A-Z]+(?:_[A-Z0-9]+)+)[`=]", text)
    }
    assert len(told) > len(Settings.model_fields)
    assert [(page, name) for page, name in sorted(told) if name not in known] == []


def test_every_route_that_a_page_names_is_there_and_every_route_is_named() -> None:
    paths = set(create_app(Settings()).openapi()["paths"])
    told = {path for _, text in texts() for path in re.findall(r"(?:GET|POST|DELETE) (/[^`?\s]*)", text)}
    told = {path.replace("{id}", "{job_id}") for path in told} - {"/openapi.json"}
    assert told == paths


def test_every_metric_that_is_told_of_is_named(metric_names: set[str]) -> None:
    page = (DOCS / "operations.md").read_text()
    told = {re.sub(r"_(total|info)$", "", name) for name in re.findall(r"`(ai_engine_[a-z_]+)", page)}
    assert told == metric_names


@pytest.fixture
def metric_names() -> set[str]:
    """The names of all metrics, as the service's own code spells them."""
    text = (ROOT / "ai_engine" / "monitoring" / "prometheus.py").read_text()
    short = re.findall(r'_gauge\(\s*"(\w+)"', text) + re.findall(r'_counter\([^"]*"(\w+)"', text)
    return {f"ai_engine_{name}" for name in short} | set(re.findall(r'"(ai_engine_\w+)"', text))


def commands() -> Iterator[tuple[str, list[str]]]:
    """Every `main.py` command of the pages with what follows it."""
    for page, text in texts():
        for line in re.findall(r"main\.py ([^`\n|]*)", text):
            words = shlex.split(line.partition("#")[0].partition(";")[0], posix=True)
            if words and re.fullmatch(r"[a-z][a-z-]+", words[0].strip(",:")):
                yield page, [words[0].strip(",:"), *words[1:]]


def test_every_command_and_flag_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    found = list(commands())
    assert {words[0] for _, words in found} >= {"serve", "demo", "doctor", "fetch-weights", "new-key"}
    for page, (command, *words) in found:
        with pytest.raises(SystemExit) as end:
            main.main([command, "--help"])
        assert end.value.code == 0, (page, command)
        shown = capsys.readouterr().out
        assert [word for word in words if word.startswith("--") and word not in shown] == [], page


def test_every_make_target_that_a_page_names_is_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    told = {word for _, text in texts() for word in re.findall(r"(?:`|^)make ([a-z-]+)", text, re.MULTILINE)}
    assert told - targets == set()


def test_the_request_of_the_readme_is_one() -> None:
    body = re.search(r"-d '(\{.*?\})'", README, re.DOTALL)
    assert body is not None
    assert JobRequest.model_validate_json(body[1]).height_mm == 80


def test_the_event_of_the_page_fits_its_schema() -> None:
    event = next(json.loads(block) for block in code_blocks(API, "json") if '"type"' in block)
    found = WebhookEvent.model_validate(event)
    assert found.model_extra == {}
    assert found.data.model_extra == {}
    assert found.data.artifact is not None
    assert found.data.artifact.model_extra == {}


def test_the_python_of_the_readme_makes_a_mesh() -> None:
    (snippet,) = (block for block in code_blocks(README, "python") if "hy3dgen" in block)
    smaller: tuple[tuple[str, str], ...] = (
        ('device="cuda"', 'device="cpu"'),
        ("num_inference_steps=50", "num_inference_steps=2"),
        ("octree_resolution=256", "octree_resolution=32"),
    )
    for there, here in smaller:
        assert there in snippet
        snippet = snippet.replace(there, here)
    checkpoint = ROOT / "models" / "tiny" / "tiny.safetensors"
    names: dict[str, Any] = {
        "ckpt_path": str(checkpoint),
        "image": Image.open(ROOT / "examples" / "pictures" / "vase.png"),
    }
    run: Callable[..., None] = exec
    run(snippet, names)
    assert len(names["meshes"][0].faces) > 100


def test_every_package_has_its_licence_told() -> None:
    licences = (DOCS / "licences.md").read_text()
    pinned = [
        re.split(r"[\[=]", line)[0]
        for name in ("requirements.txt", "requirements-otel.txt")
        for line in (ROOT / name).read_text().splitlines()
        if "==" in line
    ]
    assert len(pinned) > 20
    assert [name for name in pinned if not re.search(rf"\b{re.escape(name)}\b", licences)] == []


def test_every_page_and_chapter_that_a_docstring_of_the_model_cites_is_there() -> None:
    sources = [file.read_text() for file in (ROOT / "hy3dgen").rglob("*.py")]
    cited = [
        found
        for text in sources
        for found in re.findall(r"docs/([a-z-]+\.md), ([A-Z][a-z]+(?: [a-z]+)?)", text)
    ]
    assert cited
    for page, chapter in cited:
        assert f"\n## {chapter}\n" in (ROOT / "docs" / page).read_text(), (page, chapter)


@pytest.mark.parametrize(
    "card", [triposg.CARD, step1x_3d.CARD, hunyuan3d_21.CARD], ids=lambda card: card.model_id
)
def test_the_memory_of_a_model_is_the_one_of_its_card(card: Card) -> None:
    needed = f"| {card.memory_bytes / 1e9:.1f} GB |"
    name = {"hunyuan3d-dit-v2-1": "v2-1", "step1x-3d-geometry-1300m": "step1x-3d"}.get(
        card.model_id, card.model_id
    )
    for text in (README, (DOCS / "performance.md").read_text()):
        row = next(line for line in text.splitlines() if re.match(rf"\| `?{name}`? \|", line))
        assert needed in row


def test_the_retry_schedule_that_the_pages_name_is_the_default() -> None:
    delays_s = Settings.model_fields["webhook_delays_s"].default
    hours = round(sum(delays_s) / 3600)
    assert 0.8 * sum(delays_s) >= 24 * 3600, "a full day, however the jitter falls"
    assert (len(delays_s), hours) == (9, 32)
    assert "nine attempts over about 32 hours" in API
    assert "nine times over 32 hours" in README
    assert f">9 attempts, {hours} hours<" in (DOCS / "flow.svg").read_text()


def test_every_module_and_code_on_the_line_of_a_job_is_there() -> None:
    page = (DOCS / "architecture.md").read_text()
    line = next(block for block in code_blocks(page, "text") if "POST /generate-3d" in block)
    steps = re.findall(r"^\d  ([a-z_]+)(?:/([a-z_]+))? ", line, re.MULTILINE)
    assert len(steps) == 8
    for room, module in steps:
        assert (ROOT / "ai_engine" / room / (f"{module}.py" if module else "__init__.py")).exists(), (
            room,
            module,
        )
    codes = set(re.findall(r" ([a-z]+(?:_[a-z]+)+)(?=,|$)", line, re.MULTILINE)) - {"job_queue"}
    assert codes
    assert [code for code in codes if f"| `{code}` |" not in API] == []
