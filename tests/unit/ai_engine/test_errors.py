from __future__ import annotations

import pickle

import pytest

from ai_engine import errors
from ai_engine.errors import DownloadError, JobError, RequestRefused
from ai_engine.stage import Stage

CONTRACT_CODES = """
image_url_forbidden image_download_failed image_too_large image_invalid no_foreground mask_invalid
mesh_url_forbidden mesh_download_failed mesh_invalid mesh_too_large mesh_too_many_faces mesh_bomb sampler_unfit
views_unfit gpu_out_of_memory generation_timeout empty_mesh not_printable addition_unfit result_too_large slice_failed
cancelled worker_lost internal
"""
JOB_ERRORS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, JobError)]
REFUSALS = [
    kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, RequestRefused)
]


def test_the_codes_of_job_errors_are_those_of_the_contract() -> None:
    assert {kind.code for kind in JOB_ERRORS} == set(CONTRACT_CODES.split())


@pytest.mark.parametrize("kind", [*JOB_ERRORS, *REFUSALS])
def test_the_tree_at_the_top_of_the_module_names_every_error_and_its_code(kind: type[JobError]) -> None:
    assert errors.__doc__ is not None
    assert kind.__name__ in errors.__doc__
    assert kind.code in errors.__doc__


@pytest.mark.parametrize("kind", JOB_ERRORS)
def test_an_error_survives_the_job_database(kind: type[JobError]) -> None:
    error = kind("one sentence", stage=Stage.DECODE, retryable=not kind.retryable)

    again = pickle.loads(pickle.dumps(error))

    assert type(again) is kind
    assert (again.detail, again.stage, again.retryable) == ("one sentence", "decode", not kind.retryable)


def test_an_error_without_words_of_its_own_says_its_title() -> None:
    assert DownloadError().detail == "The picture could not be downloaded"
