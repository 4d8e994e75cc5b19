"""Several views of one object, from the request to the webhook."""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from service.conftest import served
from service.house import House, Outside, cut_out_png, wait_for
from service.test_cut_outs import FACTS, data_url, form

PARITY = Path(__file__).resolve().parents[1] / "parity" / "data"


def test_views_come_by_url_and_inside_the_request_and_the_event_has_facts_of_each(
    each_house: House, outside: Outside
) -> None:
    hook = f"/views-{each_house.port}"
    urls = {"front": outside.url("/a.png"), "left": data_url(cut_out_png()), "back": None}
    job_id = each_house.submit(image_url=None, image_urls=urls, webhook_url=outside.url(hook))

    job = each_house.wait_until(job_id, "succeeded")

    (delivered,) = wait_for(lambda: outside.posts(hook), "the webhook came")
    assert job["cutout"] is None
    assert job["cutouts"] == {"front": FACTS, "left": FACTS}
    assert delivered.event["data"]["cutouts"] == job["cutouts"]
    for view in ("front", "left"):
        picture = each_house.ask("GET", f"/jobs/{job_id}/cutout.png?view={view}")
        assert np.array(Image.open(io.BytesIO(picture.body))).shape == (64, 64, 4)
    assert each_house.ask("GET", f"/jobs/{job_id}/cutout.png?view=right").status == 409


def test_the_same_views_under_one_key_are_one_job_and_others_are_refused(each_house: House) -> None:
    key = {"Idempotency-Key": uuid.uuid4().hex}
    fields = {"session_id": "s1", "asset_id": "a1"}
    as_form, headers = form(fields | {"left": cut_out_png(), "front": cut_out_png()})
    urls = dict.fromkeys(("front", "left"), data_url(cut_out_png()))

    first = each_house.ask("POST", "/generate-3d", as_form, headers | key)
    again = each_house.ask("POST", "/generate-3d", fields | {"image_urls": urls}, key)
    other = each_house.ask("POST", "/generate-3d", fields | {"image_urls": urls | {"left": None}}, key)

    assert [first.status, again.status, other.status] == [202, 200, 409]
    assert first.json["job_id"] == again.json["job_id"]


def test_a_view_that_can_not_be_had_is_named_and_a_retry_has_the_same_views(
    each_house: House, outside: Outside
) -> None:
    urls = {"front": data_url(cut_out_png()), "right": outside.url("/nowhere")}
    job_id = each_house.submit(image_url=None, image_urls=urls)

    failed = each_house.wait_until(job_id, "failed")
    answer = each_house.ask("POST", f"/jobs/{job_id}/retry")
    again = each_house.wait_until(answer.json["job_id"], "failed")

    for job in (failed, again):
        assert job["error"]["code"] == "image_download_failed"
        assert job["error"]["detail"].startswith("View right: ")


@pytest.fixture(scope="module")
def multi_view_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A service with weights of a model of several views."""
    folder = tmp_path_factory.mktemp("multi-view")
    yield from served(folder, **random_model(folder, is_multi_view=True))


def random_model(folder: Path, *, is_multi_view: bool) -> dict[str, str]:
    """The settings of a small model with random weights, whose file says how many views it takes."""
    config = json.loads((PARITY / "overrides.json").read_text())["checkpoint"] | {
        "is_multi_view": is_multi_view
    }
    file = folder / "model.safetensors"
    save_file(load_file(PARITY / "checkpoint.safetensors"), file, {"config": json.dumps(config)})
    return {"MODEL_PATH": str(file), "MODEL_VARIANT": "", "DEVICE": "cpu"}


SMALL = {"octree_resolution": 32, "num_inference_steps": 3, "seed": 7, "remove_background": "never"}


def test_a_model_of_several_views_makes_another_mesh_of_each_set_of_views(multi_view_house: House) -> None:
    pictures = {
        view: data_url((PARITY / f"view_{view}.png").read_bytes()) for view in ("front", "left", "right")
    }
    sets = (pictures, {"front": pictures["front"]}, {"left": pictures["front"]})

    jobs = [multi_view_house.submit(image_url=None, image_urls=urls, **SMALL) for urls in sets]
    one = multi_view_house.submit(image_url=pictures["front"], **SMALL)
    made = [multi_view_house.wait_until(job_id, "succeeded")["artifact"]["sha256"] for job_id in [*jobs, one]]

    assert len(set(made[:3])) == 3
    assert made[3] == made[1], "one picture is the front"


@pytest.fixture(scope="module")
def single_view_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("single-view")
    yield from served(folder, **random_model(folder, is_multi_view=False))


def test_a_model_of_one_view_refuses_several_at_the_door(single_view_house: House) -> None:
    urls = {"front": data_url(cut_out_png())}
    answer = single_view_house.ask(
        "POST", "/generate-3d", {"session_id": "s1", "asset_id": "a1", "image_urls": urls}
    )

    assert answer.status == 422
    assert answer.json["errors"][0]["field"] == "front"
    assert answer.json["errors"][0]["code"] == "views_unfit"
