"""The rooms: directions that hold, sizes, and a test for each source file. A machine holds what the plan asks for."""

from __future__ import annotations

import ast
import re
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping
from graphlib import TopologicalSorter
from pathlib import Path

import grimp
import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
PACKAGES = ("ai_engine", "hy3dgen")
TESTS = REPOSITORY / "tests"
UNIT_TESTS = TESTS / "unit"
STUDIO = REPOSITORY / "studio" / "src"

MAX_AT_THE_TOP, MAX_IN_A_ROOM = 8, 12
MAX_MODULE_LINES = 300
MAX_MEDIAN, MAX_P95, MAX_FUNCTION = 6, 17, 35

TABLES = {
    "ai_engine/settings.py": "one entry per setting, from which docs/settings.md is made",
    "ai_engine/api/request_schema.py": "one entry per request field, from which docs/api.md is made",
    "ai_engine/errors.py": "one class per error code, from which docs/errors.md is made",
    "ai_engine/published_weights.py": "one entry per published file of weights: size, hash, licence",
}
"""Modules that may be longer than the others: rows of one kind, and why they stay together."""


def sources(package: str) -> list[Path]:
    return [file for file in sorted((REPOSITORY / package).rglob("*.py")) if file.name != "__init__.py"]


def all_sources() -> list[Path]:
    return [file for package in PACKAGES for file in sources(package)]


def name_of(file: Path) -> str:
    return file.relative_to(REPOSITORY).as_posix()


def num_lines(file: Path) -> int:
    return len(file.read_text(encoding="utf-8").splitlines())


def code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef, lines: list[str]) -> int:
    """Lines of the body that hold code: no signature, docstring, comment or empty line."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    if not body:
        return 0
    inside = lines[body[0].lineno - 1 : function.end_lineno]
    return sum(bool(line.strip()) and not line.strip().startswith("#") for line in inside)


def functions() -> Iterator[tuple[int, str]]:
    """Length and place of each function and method of both packages."""
    for file in all_sources():
        text = file.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                yield code_lines(node, text.splitlines()), f"{name_of(file)}: {node.name}"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The packages and their contract, to be spoilt."""
    for package in PACKAGES:
        shutil.copytree(
            REPOSITORY / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    return tmp_path


def contract_of(folder: Path) -> subprocess.CompletedProcess[str]:
    command = (
        "import sys; sys.path.insert(0, '.'); from importlinter.cli import lint_imports_command as run; run()"
    )
    return subprocess.run(
        [sys.executable, "-c", command, "--no-cache"], cwd=folder, capture_output=True, text=True, timeout=120
    )


@pytest.mark.parametrize(
    "stray", ["ai_engine/corridor.py", "hy3dgen/corridor.py", "hy3dgen/runtime/corridor.py"]
)
def test_a_module_outside_all_layers_breaks_the_contract(copy: Path, stray: str) -> None:
    (copy / stray).write_text('"""In no room."""\n')

    found = contract_of(copy)

    assert found.returncode == 1, found.stdout + found.stderr
    assert stray.removesuffix(".py").replace("/", ".") in found.stdout


def test_no_module_imports_itself_by_a_detour() -> None:
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)

    TopologicalSorter(
        {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    ).prepare()


def studio_imports() -> Mapping[str, set[str]]:
    found = re.compile(r"""(?:from|import)\s+["']\./(\w+)["']""")
    return {file.stem: set(found.findall(file.read_text(encoding="utf-8"))) for file in STUDIO.glob("*.ts")}


def test_no_module_of_the_studio_imports_itself_by_a_detour() -> None:
    imports = studio_imports()

    assert "api" in imports["main"]
    TopologicalSorter(imports).prepare()


def test_the_top_and_the_rooms_are_small() -> None:
    folders = {file.parent for file in all_sources()}
    at_the_top = len([file for file in sources("ai_engine") if file.parent.name == "ai_engine"])
    crowded = {
        name_of(folder): count
        for folder in folders
        if (count := sum(file.parent == folder for file in all_sources())) > MAX_IN_A_ROOM
    }

    assert at_the_top <= MAX_AT_THE_TOP
    assert crowded == {}


def test_modules_are_short_but_for_tables() -> None:
    long = {name_of(file): num_lines(file) for file in all_sources() if num_lines(file) > MAX_MODULE_LINES}

    assert long.keys() == TABLES.keys()


def test_functions_are_short() -> None:
    found = sorted(functions())
    lengths = [length for length, _ in found]

    assert [place for length, place in found if length > MAX_FUNCTION] == []
    assert statistics.median(lengths) <= MAX_MEDIAN
    assert lengths[int(0.95 * len(lengths))] <= MAX_P95


TESTED_ELSEWHERE = {
    "ai_engine/api/delivery_routes.py": "service/test_dead_letters.py",
    "ai_engine/api/finishing/routes.py": "service/test_mesh_checks.py",
    "ai_engine/api/job_routes.py": "unit/ai_engine/api/test_app.py",
    "ai_engine/api/openapi.py": "service/test_document.py",
    "ai_engine/api/request_schema.py": "unit/ai_engine/test_job.py",
    "ai_engine/api/response_schemas.py": "unit/ai_engine/api/test_app.py",
    "ai_engine/api/service_routes.py": "unit/ai_engine/api/test_app.py",
    "ai_engine/demo/service.py": "unit/ai_engine/demo/test_demo.py",
    "ai_engine/job_queue/deliveries.py": "service/test_deliveries.py",
    "ai_engine/mesh/clean.py": "unit/ai_engine/printing/test_broken_meshes.py",
    "ai_engine/mesh/non_manifold.py": "unit/ai_engine/printing/test_broken_meshes.py",
    "ai_engine/monitoring/otel.py": "unit/ai_engine/monitoring/test_tracing.py",
    "ai_engine/monitoring/prometheus.py": "service/test_metrics.py",
    "ai_engine/outbound/checked_socket.py": "unit/ai_engine/outbound/test_client.py",
    "ai_engine/pipeline/stages/picture_stages.py": "service/test_cut_outs.py",
    "ai_engine/pipeline/resources.py": "unit/ai_engine/pipeline/test_pipeline.py",
    "ai_engine/worker/durable_run.py": "service/test_kill.py",
    "ai_engine/worker/failover.py": "service/test_several_machines.py",
    "ai_engine/worker/workflows.py": "service/test_main_line.py",
}
"""Source files without a test of their own path, and the test that covers each, below `tests/`."""
MAX_TESTED_ELSEWHERE = 19
"""May only go down."""


def mirror_of(file: Path) -> Path:
    return UNIT_TESTS / file.parent.relative_to(REPOSITORY) / f"test_{file.name}"


def test_each_source_file_has_a_test_of_its_path_or_is_listed_with_the_one_that_covers_it() -> None:
    without = {name_of(file) for file in all_sources() if not mirror_of(file).exists()}

    assert without == set(TESTED_ELSEWHERE)
    assert len(TESTED_ELSEWHERE) <= MAX_TESTED_ELSEWHERE
    assert [test for test in TESTED_ELSEWHERE.values() if not (TESTS / test).exists()] == []


SHAPE_MODEL_TESTS = ("unit/hy3dgen", "parity")
SHAPE_MODEL_SUPPORT = (
    "dense_twin",
    "fields",
    "mesh_checks",
    "peak_memory",
    "pretended_gpu",
    "published_layouts",
)
"""Parts of `tests/support` that tests of the shape model use."""
OTHER_TESTS = ("unit/repository", "unit/training")
"""Tests of neither package."""


def is_under(file: Path, folders: tuple[str, ...]) -> bool:
    return any(file.is_relative_to(TESTS / folder) for folder in folders)


def test_each_package_has_at_least_as_many_lines_of_tests_as_of_its_own() -> None:
    """All lines count, empty ones and comments too, on both sides; a test counts for one package."""
    files = [file for file in TESTS.rglob("*.py") if not is_under(file, OTHER_TESTS)]
    of_model = {
        file
        for file in files
        if is_under(file, SHAPE_MODEL_TESTS)
        or (is_under(file, ("support",)) and file.stem in SHAPE_MODEL_SUPPORT)
    }
    tests = {
        "hy3dgen": sum(map(num_lines, of_model)),
        "ai_engine": sum(num_lines(file) for file in files if file not in of_model),
    }
    lines = {package: sum(map(num_lines, (REPOSITORY / package).rglob("*.py"))) for package in PACKAGES}

    assert {
        package: tests[package] / lines[package] for package in PACKAGES if tests[package] < lines[package]
    } == {}


RIDDLES = re.compile(r"\b(told|tells?|comes? back when|spec [a-z]\b)", re.IGNORECASE)
NOT_RIDDLES = {"ai_engine/images/background.py": 1}
"""`unless told not to`: an option of another program."""


def prose(file: Path) -> Iterator[str]:
    """Docstrings and comments of a module."""
    text = file.read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(text)):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            yield node.value.value
    yield from (line.partition("#")[2] for line in text.splitlines() if "# " in line)


def test_docstrings_say_what_happens_in_plain_words() -> None:
    """Subject, verb, mechanism: a function raises, returns or reports; nothing is told."""
    found = {
        name_of(file): sum(len(RIDDLES.findall(words)) for words in prose(file)) for file in all_sources()
    }

    assert {name: count for name, count in found.items() if count} == NOT_RIDDLES


PARTICIPLES = re.compile(
    r"_*(\w*[^e]ed|told|sent|made|found|shown|drawn|given|taken|known|done|stood|met|begun|broken|built|chosen"
    r"|kept|held|written|lost|seen|said|bound|hidden|gone|worn)"
)
NO_PARTICIPLES = {"speed", "shed"}


def test_functions_are_not_named_by_a_bare_participle() -> None:
    """A verb for what is done, a noun for a value: `find`, not `found`. Properties and claims are values."""
    names = {
        f"{name_of(file)}: {node.name}"
        for file in all_sources()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and not node.decorator_list
        and "_" not in node.name.strip("_")
        and PARTICIPLES.fullmatch(node.name)
        and node.name not in NO_PARTICIPLES
    }

    assert names == set()
