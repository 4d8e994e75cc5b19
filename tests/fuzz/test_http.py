"""The running service, asked whatever its own description allows and much that it does not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import given
from schemathesis import Case, GenerationMode
from schemathesis.core.parameters import ParameterLocation
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    negative_data_rejection,
    positive_data_acceptance,
    response_schema_conformance,
)
from service.house import House

from ai_engine.api.app import create_app
from ai_engine.settings import Settings
from ai_engine.web.api_keys import new_key, setting_entry

TIMEOUT_S = 60
NOT_IN_A_SCHEMA = [positive_data_acceptance]
"""No schema can say that an address must be public, or that a cursor must be ours."""
KEY = new_key()
BEARER = {"Authorization": f"Bearer {KEY}"}


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A service that reaches nobody, with small limits."""
    settings = {
        "API_KEYS": setting_entry("fuzz", KEY),
        "REQUESTS_PER_MINUTE": "0",
        "WEBHOOK_DELAYS_S": "0",
        "DOWNLOAD_ATTEMPTS": "1",
        "DOWNLOAD_TIMEOUT_S": "1",
        "MAX_QUEUED_JOBS": "20",
        "IMAGE_MAX_BYTES": "100000",
        "PROFILE": "production",
    }
    house = House(tmp_path_factory.mktemp("fuzzed"), settings, key=KEY)
    with house.serving():
        yield house


@pytest.fixture(scope="module")
def known_job(fuzzed: House) -> str:
    """A job that has succeeded: what is asked about it exists."""
    from base64 import b64encode

    from service.house import cut_out_png

    job_id = fuzzed.submit(image_url=f"data:image/png;base64,{b64encode(cut_out_png()).decode()}")
    fuzzed.wait_until(job_id, "succeeded")
    return job_id


def ask_much(
    operation: APIOperation[Any, Any, Any, Any], mode: GenerationMode, house: House, **path: str
) -> None:
    """Asks one operation with many inputs; each answer must be one that its description has."""

    is_stream = operation.path.endswith(
        "/events"
    )  # Its words are events, each of which would be held to be JSON.

    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Case[Any]) -> None:
        case.path_parameters = {**case.path_parameters, **path}
        where = f"http://127.0.0.1:{house.port}"
        unfit = [*NOT_IN_A_SCHEMA, *([response_schema_conformance] if is_stream else [])]
        if lacks_key(case):
            unfit.append(negative_data_rejection)
        case.call_and_validate(where, headers=BEARER, timeout=TIMEOUT_S, excluded_checks=unfit)

    ask()


def lacks_key(case: Case[Any]) -> bool:
    """True where headers are what is wrong with it: the key is sent all the same, and makes it right."""
    headers = case.meta and case.meta.components.get(ParameterLocation.HEADER)
    return bool(headers and headers.mode.is_negative)


SCHEMA = schemathesis.openapi.from_dict(create_app(Settings(data_dir=Path("/nonexistent"))).openapi())
OPERATIONS = {
    f"{one.method.upper()} {one.path}": one
    for one in (each.ok() for each in SCHEMA.get_all_operations() if isinstance(each, Ok))
}


def test_the_running_service_has_the_description_that_is_fuzzed(fuzzed: House) -> None:
    served = fuzzed.ask("GET", "/openapi.json").json

    for part in ("paths", "components"):  # The webhooks name this service's own retry schedule.
        assert served[part] == SCHEMA.raw_schema[part]


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_answer_is_one_that_is_described(name: str, fuzzed: House) -> None:
    ask_much(OPERATIONS[name], GenerationMode.POSITIVE, fuzzed)


@pytest.mark.parametrize(
    "name", [name for name, one in OPERATIONS.items() if list(one.iter_parameters()) or one.body]
)
def test_so_is_every_answer_to_what_may_not_be_asked(name: str, fuzzed: House) -> None:
    ask_much(OPERATIONS[name], GenerationMode.NEGATIVE, fuzzed)


@pytest.mark.parametrize("name", [name for name in OPERATIONS if "{job_id}" in name])
def test_so_is_every_answer_about_a_job_that_exists(name: str, fuzzed: House, known_job: str) -> None:
    ask_much(OPERATIONS[name], GenerationMode.POSITIVE, fuzzed, job_id=known_job)
