"""A job of each family through one service, with the checkpoints of the parity fixtures, on one database."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from service.conftest import served
from service.house import House, Outside, wait_for
from service.test_cut_outs import data_url

PARITY = Path(__file__).resolve().parents[1] / "parity" / "data"
MODEL_IDS = {
    "v2-0": "hunyuan3d",
    "v2-1": "hunyuan3d-dit-v2-1",
    "triposg": "triposg",
    "step1x-3d": "step1x-3d-geometry-1300m",
}
SMALL = {"octree_resolution": 32, "num_inference_steps": 1, "seed": 7, "remove_background": "never"}


@pytest.fixture(scope="module")
def families_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("families")
    config = json.loads((PARITY / "overrides.json").read_text())["checkpoint"]
    single_file = folder / "hunyuan3d.safetensors"
    save_file(
        load_file(PARITY / "checkpoint.safetensors"),
        single_file,
        {"config": json.dumps(config | {"is_multi_view": True})},
    )
    places = {
        "v2-0": single_file,
        "v2-1": PARITY / "hunyuan3d_21" / "checkpoint.safetensors",
        "triposg": PARITY / "triposg",
        "step1x-3d": PARITY / "step1x_3d",
    }
    models = ",".join(f"{name}={path}" for name, path in places.items())
    yield from served(folder, MODELS=models, MODEL_VARIANT="", DEVICE="cpu", MATTING_MODEL="tiny")


def test_a_job_of_each_family_is_done_and_its_event_names_its_model_and_licence(
    families_house: House, outside: Outside
) -> None:
    picture = data_url((PARITY / "triposg" / "image_rgba.png").read_bytes())
    jobs = {
        name: families_house.submit(
            model=name, image_url=picture, webhook_url=outside.url(f"/family-{name}"), **SMALL
        )
        for name in MODEL_IDS
    }

    made = {name: families_house.wait_until(job_id, "succeeded") for name, job_id in jobs.items()}

    listed = {one["name"]: one["card"] for one in families_house.ask("GET", "/models").json["models"]}
    assert {name: card["model_id"] for name, card in listed.items()} == MODEL_IDS
    assert len({job["artifact"]["sha256"] for job in made.values()}) == len(MODEL_IDS)
    for name in MODEL_IDS:
        (delivered,) = wait_for(partial(outside.posts, f"/family-{name}"), "the webhook came")
        assert made[name]["model"]["id"] == MODEL_IDS[name]
        assert delivered.event["data"]["model"] == made[name]["model"]
        assert made[name]["model"]["licence"].startswith(listed[name]["licences"][0]["name"])
        assert listed[name]["licences"][-1]["part"] == "background remover tiny"


def test_views_are_refused_at_the_door_by_the_families_that_take_one(families_house: House) -> None:
    urls = {"front": data_url((PARITY / "view_front.png").read_bytes())}
    fields = {"session_id": "s1", "asset_id": "a1", "image_urls": urls, **SMALL}

    answers = {
        name: families_house.ask("POST", "/generate-3d", fields | {"model": name}) for name in MODEL_IDS
    }

    assert {name: answer.status for name, answer in answers.items()} == {
        "v2-0": 202,
        "v2-1": 422,
        "triposg": 422,
        "step1x-3d": 422,
    }
    assert answers["triposg"].json["errors"][0]["code"] == "views_unfit"
