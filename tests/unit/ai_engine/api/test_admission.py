from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

from ai_engine.api.admission import Admission
from ai_engine.api.request_body import Picture, RequestHeaders, Submission
from ai_engine.api.request_schema import JobRequest
from ai_engine.errors import FileExpired, InvalidField, NotReady
from ai_engine.facts import ModelFacts, Sampler, ViewName
from ai_engine.job_queue.worker_leases import ServedModel, WorkerState
from ai_engine.monitoring.tracing import sane_traceparent
from ai_engine.outbound.addresses import AddressPolicy
from ai_engine.settings import Settings
from ai_engine.slicing.offer import SlicerOffer
from ai_engine.slicing.profiles import SHIPPED
from ai_engine.storage.store import LocalStore
from ai_engine.wishes.slicing import Slice

BYTES = b"a picture's bytes"


def admission(folder: Path, **settings: Any) -> Admission:
    policy = AddressPolicy(is_development=False)
    return Admission(
        Settings(data_dir=folder, **settings), policy, policy, LocalStore(folder / "jobs"), lambda: 5.0
    )


ANYBODY = RequestHeaders()


def submission(
    picture: bytes | None = None, headers: RequestHeaders = ANYBODY, **fields: Any
) -> Submission[JobRequest]:
    request = JobRequest(session_id="s", asset_id="a", **fields)
    known = Picture(io.BytesIO(picture), hashlib.sha256(picture).hexdigest()) if picture else None
    return Submission(request, known, headers)


def test_a_submission_becomes_a_job_and_nothing_is_written(tmp_path: Path) -> None:
    job = admission(tmp_path).admit(
        submission(image_url="https://93.184.216.34/a.png", headers=RequestHeaders("shop"), priority=3)
    )

    assert (job.owner, job.priority, job.accepted_at_s) == ("shop", 3, 5.0)
    assert (job.image_url, job.image) == ("https://93.184.216.34/a.png", None)
    assert not (tmp_path / "jobs").exists()


def test_the_digest_of_a_request_tells_pictures_and_options_apart(tmp_path: Path) -> None:
    door = admission(tmp_path)

    digests = [
        door.admit(one).request_sha256
        for one in (
            submission(BYTES),
            submission(BYTES, quality="standard"),
            submission(BYTES + b"."),
            submission(BYTES, priority=1),
        )
    ]

    assert digests[0] == digests[1], "a default that is written out is the same request"
    assert len(set(digests)) == 3


def test_one_key_is_one_job_for_its_owner_and_another_for_the_next(tmp_path: Path) -> None:
    door = admission(tmp_path)

    def job_id(owner: str | None) -> str:
        return door.admit(submission(BYTES, RequestHeaders(owner, "key"))).job_id

    assert job_id("shop") == job_id("shop")
    assert len({job_id("shop"), job_id("press"), job_id(None)}) == 3


@pytest.mark.parametrize("field", ["image_url", "mask_url", "webhook_url", "upload_url"])
def test_an_address_inside_is_refused_by_its_field(tmp_path: Path, field: str) -> None:
    with pytest.raises(InvalidField) as caught:
        admission(tmp_path).admit(submission(None, ANYBODY, **{field: "http://10.0.0.1/a"}))
    assert (caught.value.field, caught.value.field_code) == (field, f"{field}_forbidden")


def test_headers_of_an_upload_need_an_upload(tmp_path: Path) -> None:
    headers, url = {"x-ms-blob-type": "BlockBlob"}, "https://93.184.216.34/put"
    with pytest.raises(InvalidField) as caught:
        admission(tmp_path).admit(submission(BYTES, upload_headers=headers))
    job = admission(tmp_path).admit(submission(BYTES, upload_headers=headers, upload_url=url))

    assert (caught.value.field, caught.value.field_code) == ("upload_headers", "no_upload")
    assert job.upload_headers == headers


def test_a_kept_picture_is_found_by_its_digest_and_copied_for_a_retry(tmp_path: Path) -> None:
    door = admission(tmp_path)
    sent = submission(BYTES)
    job = door.keep_pictures(door.admit(sent), sent)
    assert job.image is not None
    assert door.store.path(job.image).read_bytes() == BYTES
    assert job.image.sha256 == hashlib.sha256(BYTES).hexdigest()

    again = door.retry(job)
    door.store.remove(job.job_id)

    assert again.image is not None
    assert door.store.path(again.image).read_bytes() == BYTES
    with pytest.raises(FileExpired):
        door.retry(job)


def test_a_mask_is_kept_and_copied_like_the_picture_and_changes_the_digest(tmp_path: Path) -> None:
    door = admission(tmp_path)
    mask = Picture(io.BytesIO(b"mask"), hashlib.sha256(b"mask").hexdigest())
    sent = replace(submission(BYTES), mask=mask)
    job = door.keep_pictures(door.admit(sent), sent)

    again = door.retry(job)
    door.store.remove(job.job_id)

    assert again.mask is not None
    assert door.store.path(again.mask).read_bytes() == b"mask"
    assert job.request_sha256 != door.admit(submission(BYTES)).request_sha256


def test_a_matting_model_must_be_one_that_the_workers_have(tmp_path: Path) -> None:
    door = replace(admission(tmp_path), matting_models=lambda: ["tiny", "u2net"])

    assert door.admit(submission(BYTES, matting_model="u2net")).matting_model == "u2net"
    with pytest.raises(InvalidField, match="installed are: tiny, u2net") as caught:
        door.admit(submission(BYTES, matting_model="isnet-general-use"))
    assert (caught.value.field, caught.value.field_code) == ("matting_model", "matting_model_unknown")
    with pytest.raises(NotReady):
        admission(tmp_path).admit(submission(BYTES, matting_model="tiny"))


def test_a_trace_that_is_none_is_dropped() -> None:
    good = f"00-{'1' * 32}-{'2' * 16}-01"

    assert sane_traceparent(good) == good
    for bad in (None, "", good[:-1], good.replace("1", "0"), "01" + good[2:]):
        assert sane_traceparent(bad) is None


@pytest.mark.parametrize(
    ("wish", "default", "sampler"),
    [
        ({}, "faithful", "euler"),
        ({}, "fast", "adams"),
        ({"speed": "fast"}, "faithful", "adams"),
        ({"speed": "faithful"}, "fast", "euler"),
        ({"speed": "fast", "sampler": "euler"}, "faithful", "euler"),
        ({"sampler": "adams"}, "faithful", "adams"),
    ],
)
def test_the_sampler_is_the_requests_then_the_presets_then_the_services(
    tmp_path: Path, wish: dict[str, Any], default: Literal["faithful", "fast"], sampler: str
) -> None:
    door = admission(tmp_path, speed=default)

    assert door.admit(submission(BYTES, **wish)).options.sampler == sampler


@pytest.mark.parametrize("field", ["speed", "sampler"])
def test_a_model_known_to_be_distilled_refuses_the_two_step_sampler_at_the_door(
    tmp_path: Path, field: str
) -> None:
    door = admission(tmp_path, model_variant="v2-0-turbo")

    with pytest.raises(InvalidField) as caught:
        door.admit(submission(BYTES, ANYBODY, **{field: {"speed": "fast", "sampler": "adams"}[field]}))
    assert (caught.value.field, caught.value.field_code) == (field, "sampler_unfit")


def views_of(*names: ViewName, content: bytes = BYTES) -> Submission[JobRequest]:
    known = {name: Picture(io.BytesIO(content), hashlib.sha256(content).hexdigest()) for name in names}
    return Submission(JobRequest(session_id="s", asset_id="a"), None, ANYBODY, views=known)


def seeing(folder: Path, *, takes_views: bool | None = True) -> Admission:
    return replace(admission(folder), takes_views=lambda _: takes_views)


def test_views_are_kept_by_their_names_and_copied_for_a_retry(tmp_path: Path) -> None:
    door, came = seeing(tmp_path), views_of("front", "left")
    job = door.keep_pictures(door.admit(came), came)
    again = door.retry(job)

    for one in (job, again):
        files = {name: view.image for name, view in one.views.items()}
        assert {name: door.store.path(file).read_bytes() for name, file in files.items() if file} == {
            "front": BYTES,
            "left": BYTES,
        }
    assert job.image is None
    door.store.remove(job.job_id)
    with pytest.raises(FileExpired):
        door.retry(job)


def test_the_same_views_are_the_same_request_and_other_views_another(tmp_path: Path) -> None:
    door = seeing(tmp_path)
    url = "https://93.184.216.34/a.png"

    def digest(one: Submission[JobRequest]) -> str:
        return door.admit(one).request_sha256

    assert digest(views_of("front", "left")) == digest(views_of("left", "front"))
    by_url = [
        submission(image_urls=urls) for urls in ({"front": url, "left": url}, {"left": url, "front": url})
    ]
    assert digest(by_url[0]) == digest(by_url[1])
    others = [
        digest(one)
        for one in (
            views_of("front", "left"),
            views_of("front", "back"),
            views_of("front", "left", content=b"other"),
            submission(BYTES),
            by_url[0],
            submission(image_urls={"front": url, "back": url}),
        )
    ]
    assert len(set(others)) == len(others)


def test_an_address_inside_is_refused_by_its_view(tmp_path: Path) -> None:
    urls = {"front": "https://93.184.216.34/a.png", "back": "http://127.0.0.1/a.png"}
    with pytest.raises(InvalidField) as caught:
        seeing(tmp_path).admit(submission(image_urls=urls))

    assert (caught.value.field, caught.value.field_code) == ("image_urls.back", "image_url_forbidden")


def test_views_are_refused_where_the_model_takes_one_or_nothing_is_known(tmp_path: Path) -> None:
    by_url = submission(image_urls={"front": "https://93.184.216.34/a.png"})

    for one, field in ((views_of("left"), "left"), (by_url, "image_urls")):
        with pytest.raises(InvalidField) as caught:
            seeing(tmp_path, takes_views=False).admit(one)
        assert (caught.value.field, caught.value.field_code) == (field, "views_unfit")
    with pytest.raises(NotReady):
        seeing(tmp_path, takes_views=None).admit(by_url)


def test_it_is_the_named_model_that_must_take_views(tmp_path: Path) -> None:
    door = replace(
        admission(tmp_path), takes_views=lambda model: model == "mv", served_models=served("one", "mv")
    )

    views = replace(views_of("left"), request=JobRequest(session_id="s", asset_id="a", model="mv"))
    assert door.admit(views).model == "mv"
    with pytest.raises(InvalidField, match="takes one view only"):
        door.admit(views_of("left"))


def served(
    *names: str, samplers: tuple[Sampler, ...] = ("euler", "adams")
) -> Callable[[], list[ServedModel]]:
    """Workers that serve these models, one each."""
    card = ModelFacts("made-up", "Made up", (), samplers=samplers)
    return lambda: [
        ServedModel(f"worker {name}", name, card, "cpu", WorkerState.READY, is_alive=True) for name in names
    ]


def test_a_model_must_be_one_that_a_worker_serves(tmp_path: Path) -> None:
    door = replace(admission(tmp_path), served_models=served("fine", "fast"))

    assert door.admit(submission(BYTES, model="fast")).model == "fast"
    with pytest.raises(InvalidField, match="served are: fine, fast") as caught:
        door.admit(submission(BYTES, model="huge"))
    assert (caught.value.field, caught.value.field_code) == ("model", "model_unknown")
    with pytest.raises(NotReady):
        admission(tmp_path).admit(submission(BYTES, model="fast"))


def test_a_retry_of_a_model_that_nobody_serves_any_more_is_refused_as_a_submission_is(tmp_path: Path) -> None:
    door = replace(admission(tmp_path), served_models=served("fine", "fast"))
    job = door.admit(submission(BYTES, model="fast"))

    assert door.retry(job).model == "fast"
    with pytest.raises(InvalidField, match="served are: fine") as caught:
        replace(door, served_models=served("fine")).retry(job)
    assert caught.value.field_code == "model_unknown"


@pytest.mark.parametrize(
    ("models", "names", "chosen"),
    [
        (None, (), None),
        (None, ("default",), None),
        (None, ("default", "fine"), "default"),
        (None, ("fine", "fast"), "fine"),
        ("fast=stand-in,fine=stand-in", ("fine", "fast"), "fast"),
        ("fast=stand-in,fine=stand-in", ("fine",), "fine"),
        ("fast=stand-in", (), "fast"),
    ],
)
def test_a_job_without_a_model_goes_to_the_first_that_is_served(
    tmp_path: Path, models: str | None, names: tuple[str, ...], chosen: str | None
) -> None:
    door = replace(admission(tmp_path, models=models), served_models=served(*names))
    assert door.admit(submission(BYTES)).model == chosen


def test_a_sampler_must_fit_the_model_that_is_named(tmp_path: Path) -> None:
    door = replace(admission(tmp_path), served_models=served("turbo", samplers=("euler",)))
    assert door.admit(submission(BYTES, model="turbo", sampler="euler")).model == "turbo"
    with pytest.raises(InvalidField, match="distilled"):
        door.admit(submission(BYTES, model="turbo", sampler="adams"))


@pytest.mark.parametrize(
    ("wish", "field", "code"),
    [
        (Slice("mk3"), "slice.printer", "profile_unknown"),
        (Slice(print_settings="draft"), "slice.print_settings", "profile_unknown"),
    ],
)
def test_a_profile_that_is_not_there_is_refused_with_those_that_are(
    tmp_path: Path, wish: Slice, field: str, code: str
) -> None:
    door = replace(admission(tmp_path), slicer=lambda: SlicerOffer.of_folder(SHIPPED))

    with pytest.raises(InvalidField, match="known are: ") as caught:
        door.admit(submission(BYTES, height_mm=20, slice=wish))
    assert (caught.value.field, caught.value.field_code) == (field, code)


def test_a_service_without_a_slicer_refuses_the_wish_and_names_what_to_install(tmp_path: Path) -> None:
    door = replace(admission(tmp_path), slicer=SlicerOffer)

    with pytest.raises(InvalidField, match="apt-get install prusa-slicer") as caught:
        door.admit(submission(BYTES, height_mm=20, slice={}))
    assert (caught.value.field, caught.value.field_code) == ("slice", "slicer_missing")
    door.admit(submission(BYTES, height_mm=20))


def test_a_slice_waits_until_a_worker_has_said_what_it_can(tmp_path: Path) -> None:
    with pytest.raises(NotReady, match="slicer"):
        admission(tmp_path).admit(submission(BYTES, height_mm=20, slice={}))


def test_a_slice_needs_a_height() -> None:
    with pytest.raises(ValueError, match="give height_mm too"):
        submission(BYTES, slice={})
