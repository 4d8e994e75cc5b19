"""The studio in a real browser, against the running service."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, expect
from service.house import ROOT, House, Outside, cut_out_png, wait_for
from service.test_mesh_checks import SLAB

from ai_engine.web.api_keys import new_key, setting_entry
from e2e.studio_page import DEADLINE_MS, FAINT_TEXTS, Studio, num_colours

expect.set_options(timeout=DEADLINE_MS)

OpenStudio = Callable[..., Studio]
PICTURE = cut_out_png(128)


def finished(house: House, outside: Outside, **fields: object) -> str:
    """The id of a job that succeeded."""
    request = {"image_url": outside.url("/a.png"), "height_mm": 60} | fields
    job_id = house.submit(**request)
    house.wait_until(job_id, "succeeded")
    return job_id


def test_a_dropped_picture_becomes_a_mesh_that_turns_and_is_the_file_of_the_event(
    studio: Studio, house: House, outside: Outside
) -> None:
    studio.drop(PICTURE, "garden chair.png")
    studio.fill(height_mm=60, webhook_url=outside.url("/studio"))
    job_id = studio.generate()
    canvas = studio.shape()

    canvas.press("w")
    before = studio.picture_of(canvas)
    assert num_colours(before) > 100
    box = canvas.bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    studio.page.mouse.move(*middle)
    studio.page.mouse.down()
    studio.page.mouse.move(middle[0] + 170, middle[1] + 30, steps=6)
    studio.page.mouse.up()
    studio.changed(canvas, before, share=0.05)

    with studio.page.expect_download() as saved:
        studio.page.get_by_role("button", name="Download STL").click()
    assert saved.value.suggested_filename == "garden-chair.stl"
    (delivered,) = wait_for(lambda: outside.posts("/studio"), "the webhook came")
    assert delivered.event["data"]["job_id"] == job_id
    file = Path(saved.value.path()).read_bytes()
    assert hashlib.sha256(file).hexdigest() == delivered.event["data"]["artifact"]["sha256"]
    assert hashlib.sha256(file).hexdigest() == house.job(job_id)["artifact"]["sha256"]


def test_a_dropped_picture_shows_its_cutout_and_the_job_begins_with_it(studio: Studio, house: House) -> None:
    preview = studio.page.locator(".cutout-preview")

    studio.drop(cut_out_png(64))

    expect(preview.get_by_alt_text("The cut-out: what the model would see")).to_be_visible()
    expect(preview.locator(".cutout-words")).to_contain_text("25 % of the picture")
    expect(preview.locator(".warnings")).to_contain_text("few pixels")
    preview.get_by_label("Background remover").select_option("tiny")
    expect(preview.locator(".cutout-words")).to_contain_text("tiny")
    job = house.wait_until(studio.generate(), "succeeded")
    assert job["cutout"]["source"] == "tiny"
    assert job["timings_s"]["cutout"] == 0.0, "it was made before"


def test_views_have_places_of_their_own_and_the_job_shows_the_cutout_and_facts_of_each(
    studio: Studio, house: House
) -> None:
    page, views = studio.page, studio.page.locator("#views")
    views.locator("summary").click()
    for view in ("front", "left", "back"):
        views.get_by_label(f"Picture of the {view}").set_input_files(
            {"name": f"chair-{view}.png", "mimeType": "image/png", "buffer": cut_out_png(64)}
        )
    expect(page.locator("#drop strong")).to_have_text("Views: front, left, back")
    views.get_by_role("button", name="Remove the back").click()
    expect(page.locator("#drop strong")).to_have_text("Views: front, left")
    page.get_by_role("button", name="As a command").click()
    expect(page.locator("#commands")).to_contain_text("-F 'left=@chair-left.png'")
    expect(page.locator("#commands")).to_contain_text('left = "data:image/png;base64," + [Convert]')
    page.keyboard.press("Escape")

    job_id = studio.generate()

    insets = page.locator(".cutout-inset img")
    expect(insets).to_have_count(2)
    expect(insets.nth(1)).to_have_attribute("alt", "The cut-out: what the model saw of the left")
    expect(page.locator(".report")).to_contain_text("left: The object has few pixels")
    expect(page.locator(".report")).to_contain_text("Cut-out, front")
    assert set(house.job(job_id)["cutouts"]) == {"front", "left"}
    page.get_by_label("Other formats").first.select_option("glb")
    expect(page).to_have_url(re.compile(r"with="))
    again = page.url.split("with=")[1]
    assert set(house.wait_until(again, "succeeded")["cutouts"]) == {"front", "left"}
    expect(page.locator(".pane").nth(1).locator(".cover-title")).to_have_text("The mesh is ready")


def test_a_view_takes_a_dropped_picture_and_one_picture_replaces_all_views(studio: Studio) -> None:
    page, places = studio.page, studio.page.locator("#views")
    places.locator("summary").click()
    studio.drop_on("[data-view=right]", PICTURE, "right.png")
    expect(places.locator("[data-view=right] img")).to_be_visible()
    expect(page.locator("#option-asset_id")).to_have_value("right")

    studio.drop(PICTURE, "chair.png")

    expect(places.locator("img")).to_have_count(0)
    expect(page.locator(".picture-name")).to_contain_text("chair.png")


def test_the_stages_are_told_as_they_happen_and_the_cutout_comes_before_the_mesh(studio: Studio) -> None:
    studio.drop(PICTURE)
    studio.fill(num_inference_steps=24)
    studio.generate()

    page = studio.page
    expect(page.locator(".cutout").first).to_be_visible()
    assert page.locator("canvas").count() == 0
    expect(page.locator("[data-stage=denoise]")).to_contain_text("of 24")
    expect(page.locator("[data-stage=denoise]")).to_have_attribute("aria-current", "step")
    expect(page.locator("#spoken")).to_contain_text("Denoise")
    expect(page.locator("[data-stage=finish]")).to_have_attribute("data-state", "done")
    expect(page.locator("#spoken")).to_contain_text("the mesh is ready")
    expect(page.locator(".report")).to_contain_text("Watertight")


def test_a_failure_is_shown_in_words_and_can_be_tried_again(studio: Studio, outside: Outside) -> None:
    studio.page.get_by_label("URL of the picture").fill(outside.url("/nothing-here"))
    first = studio.generate()

    page = studio.page
    expect(page.locator(".cover-title").first).to_have_text("The picture could not be downloaded")
    expect(page.locator(".pane-cover code").first).to_have_text("image_download_failed")
    expect(page.locator("[data-stage=download]")).to_have_attribute("data-state", "failed")
    expect(page.locator("#spoken")).to_contain_text("failed: The picture could not be downloaded")
    page.get_by_role("button", name="Retry").click()
    expect(page).not_to_have_url(f"{studio.origin}/#job={first}")
    expect(page.locator(".cover-title").first).to_have_text("The picture could not be downloaded")


def test_a_job_is_cancelled_and_where_it_was_is_still_told_later(
    open_studio: OpenStudio, studio: Studio, house: House
) -> None:
    studio.drop(PICTURE)
    studio.fill(num_inference_steps=100)
    job_id = studio.generate()
    expect(studio.page.locator("[data-stage=denoise]")).to_contain_text("of 100")

    studio.page.get_by_role("button", name="Cancel").click()

    expect(studio.page.locator(".cover-title").first).to_have_text("The job was cancelled")
    assert house.job(job_id)["status"] == "cancelled"
    later = open_studio(house, fragment=f"#job={job_id}")
    expect(later.page.locator("[data-stage=denoise]")).to_have_attribute("data-state", "cancelled")


def test_a_lost_connection_is_told_and_the_job_is_found_again(
    open_studio: OpenStudio, tmp_path: Path
) -> None:
    house = House(tmp_path, {"STAND_IN_STEP_S": "0.5"})
    try:
        house.start("api")
        house.start("worker")
        house.wait_until_ready()
        studio = open_studio(house)
        studio.drop(PICTURE)
        studio.fill(num_inference_steps=12)
        studio.generate()
        expect(studio.page.locator("[data-stage=denoise]")).to_contain_text("of 12")

        studio.forgiven = ("net::ERR_", "status of 503")
        house.kill("api")

        expect(studio.page.locator(".notice")).to_contain_text("Connection lost")
        expect(studio.page.locator(".cover-title").first).to_have_text("Connection lost")
        house.start("api")
        studio.shape()
        expect(studio.page.locator(".notice")).to_be_hidden()
        # What Chromium itself says while nobody is at the port.
        studio.errors[:] = [
            error for error in studio.errors if "net::ERR_" not in error and "503" not in error
        ]
    finally:
        house.close()


def test_two_jobs_stand_side_by_side_and_turn_together(studio: Studio, house: House) -> None:
    studio.drop(PICTURE)
    studio.fill(height_mm=60, seed=11)
    first = studio.generate()
    studio.shape()
    studio.fill(height_mm=90, target_faces=500)
    studio.page.get_by_role("button", name="Generate beside").click()
    beside = studio.shape(1)

    second = studio.page.url.split("with=")[1]
    assert house.job(second)["options"]["seed"] == house.job(first)["options"]["seed"] == 11
    assert house.job(second)["artifact"]["faces"] <= 500
    expect(studio.page.locator(".report thead").first).to_have_text("AB")
    before = studio.picture_of(beside)
    studio.shape().press("ArrowRight")
    studio.changed(beside, before, share=0.01)


def test_each_look_at_the_mesh_is_another_picture(
    open_studio: OpenStudio, house: House, outside: Outside
) -> None:
    job_id = finished(house, outside)
    viewport = {"width": 780, "height": 560}
    studio = open_studio(house, fragment=f"#job={job_id}", viewport=viewport, reduced_motion="reduce")
    canvas = studio.shape()
    page = studio.page

    look = studio.picture_of(canvas)
    for name in ("Smooth", "Wireframe", "Plate"):
        button = page.get_by_role("button", name=name)
        pressed = button.get_attribute("aria-pressed")
        button.click()
        assert button.get_attribute("aria-pressed") != pressed
        look = studio.changed(canvas, look, share=0.005)
    page.get_by_role("button", name="Box").click()
    expect(page.locator(".dimension").first).to_have_text("x 60\u202fmm")
    still = studio.picture_of(canvas)
    page.get_by_role("button", name="Turntable").click()
    studio.changed(canvas, still, share=0.005, is_moving=True)


def test_a_job_of_another_format_says_why_it_is_not_drawn_and_is_downloaded(
    open_studio: OpenStudio, house: House, outside: Outside
) -> None:
    job_id = finished(house, outside, format="3mf")
    studio = open_studio(house, fragment=f"#job={job_id}")

    expect(studio.page.locator(".cover-detail").first).to_contain_text("The viewer reads STL")
    with studio.page.expect_download() as saved:
        studio.page.get_by_role("button", name="Download 3MF").click()
    file = Path(saved.value.path()).read_bytes()
    assert hashlib.sha256(file).hexdigest() == house.job(job_id)["artifact"]["sha256"]
    studio.page.get_by_label("Other formats").first.select_option("stl")
    studio.shape(1)


def test_recent_jobs_have_pictures_and_are_filtered_by_session(
    open_studio: OpenStudio, house: House, outside: Outside
) -> None:
    job_id = finished(house, outside, session_id="tuesday", asset_id="vase")
    studio = open_studio(house)
    page = studio.page

    page.get_by_label("session_id").last.fill("tuesday")
    expect(page.locator(".card")).to_have_count(1)
    expect(page.locator(f"[data-job='{job_id}'] img")).to_be_visible()
    page.get_by_role("button", name="vase in session tuesday, Succeeded").click()
    studio.shape()
    expect(page).to_have_url(f"{studio.origin}/#job={job_id}")
    page.get_by_label("session_id").last.fill("nobody")
    expect(page.locator("#recent-words")).to_have_text("No jobs of this session.")


def test_deliveries_are_shown_with_their_attempts_and_made_again(
    open_studio: OpenStudio, house: House, outside: Outside
) -> None:
    outside.answers["/studio-again"] = [(503, {})]
    job_id = finished(house, outside, webhook_url=outside.url("/studio-again"))
    studio = open_studio(house, fragment=f"#job={job_id}")

    attempts = studio.page.locator(".attempt-list li")
    expect(attempts).to_have_count(2)
    expect(attempts.nth(0)).to_contain_text("HTTP 503")
    expect(studio.page.locator("[data-stage=deliver]")).to_contain_text("attempt 2 accepted")
    studio.page.get_by_role("button", name="Redeliver").click()
    expect(studio.page.locator("[data-stage=deliver]")).to_contain_text("attempt 3 accepted")
    posts = outside.posts("/studio-again")
    assert len({post.headers["webhook-id"] for post in posts}) == 1
    assert len(posts) == 3


def test_what_the_service_refuses_is_said_beside_the_field(studio: Studio) -> None:
    studio.forgiven = ("status of 422",)
    studio.drop(PICTURE)
    studio.fill(session_id="two words")
    studio.page.get_by_role("button", name="Generate", exact=True).click()

    expect(studio.page.locator("#problem-session_id")).not_to_be_empty()
    expect(studio.page.locator("[name=session_id]")).to_have_attribute("aria-invalid", "true")


def test_a_base_with_a_text_is_switched_on_and_asked_for(studio: Studio, house: House) -> None:
    studio.drop(PICTURE)
    studio.fill(height_mm=60, base=True)
    studio.page.locator("[name='base.text']").fill("Ada 42")
    studio.page.locator("#options label:has([name='base.shape'][value='hex'])").click()

    job = house.wait_until(studio.generate(), "succeeded")

    assert (job["options"]["base"]["text"], job["options"]["base"]["shape"]) == ("Ada 42", "hex")
    assert [one["kind"] for one in job["print"]["additions"]] == ["base"]


def test_a_finished_job_is_finished_again(open_studio: OpenStudio, house: House, outside: Outside) -> None:
    first = finished(house, outside, height_mm=60, asset_id="bust", seed=3)
    studio = open_studio(house, fragment=f"#job={first}")
    panel = studio.page.locator(".finish")
    panel.locator("summary", has_text="Finish again").click()
    expect(panel.locator("[name=again-height_mm]")).to_have_value("60")
    panel.locator("[name=again-height_mm]").fill("45")
    panel.locator("label:has([name=again-formats][value='3mf'])").click()
    panel.locator("summary", has_text="Add to it").click()
    for name in ("base", "attach", "hollow"):
        panel.locator(f"[name=again-{name}]").check()
    panel.locator("[name='again-base.text']").fill("Ada")
    panel.locator("[name='again-hollow.wall_mm']").fill("3")

    with studio.page.expect_response(lambda answer: answer.url.endswith("/variants")) as sent:
        panel.get_by_role("button", name="Make the variant").click()
    assert sent.value.status == 202, sent.value.text()
    job = house.wait_until(sent.value.json()["job_id"], "succeeded")

    assert (job["variant_of"], job["options"]["height_mm"]) == (first, 45)
    assert [one["format"] for one in job["artifacts"]] == ["stl", "3mf"]
    assert [one["kind"] for one in job["print"]["additions"]] == ["hollow", "base", "keyring"]
    studio.shape(1)
    expect(panel).to_contain_text("A variant of job " + first[:8])
    expect(studio.page.locator(".report")).to_contain_text("keyring")


def test_a_job_lists_its_variants_and_each_leads_back_to_it(
    open_studio: OpenStudio, house: House, outside: Outside
) -> None:
    first = finished(house, outside, asset_id="bust")
    asked = {"formats": ["3mf", "stl"], "height_mm": 30}
    variant = house.ask("POST", f"/jobs/{first}/variants", asked).json["job_id"]
    job = house.wait_until(variant, "succeeded")
    studio = open_studio(house, fragment=f"#job={first}")
    page, panel = studio.page, studio.page.locator(".finish")

    panel.get_by_role("button", name="bust: 3MF, 30 mm tall").click()
    studio.shape(1)
    with page.expect_download() as saved:
        page.locator(".pane").nth(1).get_by_label("Other formats").select_option(job["artifacts"][1]["url"])
    panel.get_by_role("button", name=f"job {first[:8]}").click()

    assert saved.value.suggested_filename == "bust.stl"
    assert hashlib.sha256(Path(saved.value.path()).read_bytes()).hexdigest() == job["artifacts"][1]["sha256"]
    expect(page).to_have_url(f"{studio.origin}/#job={first}&with={first}")


def test_a_variant_stands_on_a_pedestal_that_is_a_file(
    open_studio: OpenStudio, house: House, outside: Outside
) -> None:
    studio = open_studio(house, fragment=f"#job={finished(house, outside, height_mm=40)}")
    panel = studio.page.locator(".finish")
    panel.locator("summary", has_text="Finish again").click()
    panel.locator("summary", has_text="Add to it").click()
    panel.locator("[name=again-base]").check()
    panel.get_by_label("File for base.mesh_url").set_input_files(
        {"name": "slab.stl", "mimeType": "model/stl", "buffer": SLAB}
    )
    expect(panel.locator("[name='again-base.mesh_url']")).to_have_value("slab.stl")

    with studio.page.expect_response(lambda answer: answer.url.endswith("/variants")) as sent:
        panel.get_by_role("button", name="Make the variant").click()

    job = house.wait_until(sent.value.json()["job_id"], "succeeded")
    assert job["options"]["base"]["mesh_url"] == f"sha256:{hashlib.sha256(SLAB).hexdigest()}"
    assert job["print"]["bbox_mm"][:2] == pytest.approx([60, 60], abs=0.01)


def test_what_no_variant_can_have_is_said_beside_the_field(
    open_studio: OpenStudio, house: House, outside: Outside
) -> None:
    studio = open_studio(house, fragment=f"#job={finished(house, outside)}")
    studio.forgiven = ("status of 422",)
    panel = studio.page.locator(".finish")
    panel.locator("summary", has_text="Finish again").click()
    panel.locator("summary", has_text="Add to it").click()
    panel.locator("[name=again-hollow]").check()
    panel.locator("[name='again-hollow.wall_mm']").fill("20")
    panel.locator("[name=again-height_mm]").fill("30")

    panel.get_by_role("button", name="Make the variant").click()

    expect(panel.locator("#again-problem-hollow")).to_contain_text("leave nothing to hollow")


def test_an_address_that_is_refused_is_said_beside_the_url(studio: Studio) -> None:
    studio.forgiven = ("status of 422",)
    url = studio.page.get_by_label("URL of the picture")
    url.fill("http://10.0.0.1/chair.png")
    studio.page.get_by_role("button", name="Generate", exact=True).click()

    expect(studio.page.locator("#problem-image_url")).to_contain_text("not on the public internet")
    expect(url).to_have_attribute("aria-invalid", "true")
    expect(url).to_be_focused()
    url.fill("https://example.com/chair.png")
    expect(studio.page.locator("#problem-image_url")).to_be_empty()


def test_a_picture_and_a_url_are_pasted(studio: Studio, outside: Outside) -> None:
    studio.paste(file=PICTURE)
    studio.page.locator("#drop img").wait_for()
    studio.paste(text=outside.url("/pasted.png"))

    expect(studio.page.get_by_label("URL of the picture")).to_have_value(outside.url("/pasted.png"))
    expect(studio.page.locator("[name=asset_id]")).to_have_value("pasted")
    studio.drop(PICTURE, "dropped.png")
    expect(studio.page.get_by_label("URL of the picture")).to_have_value("")


def test_a_file_that_is_no_picture_is_refused_in_words(studio: Studio) -> None:
    studio.page.locator("#picture-file").set_input_files(
        {"name": "chair.txt", "mimeType": "text/plain", "buffer": b"chair"}
    )

    expect(studio.page.locator("#composer-problem")).to_have_text(
        "This file is no PNG, JPEG, WebP or AVIF picture."
    )


def test_the_commands_that_are_shown_do_the_same(studio: Studio, tmp_path: Path) -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("there is no curl")
    (tmp_path / "it's a chair.png").write_bytes(PICTURE)
    studio.drop(PICTURE, "it's a chair.png")
    studio.fill(height_mm=60, flat_base=True, seed=5)
    studio.page.get_by_role("button", name="As a command").click()
    command, powershell = (block.inner_text() for block in studio.page.locator("#commands pre").all())

    done = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=True)

    assert json.loads(done.stdout)["message"] == "queued", done.stdout
    assert "flat_base = $true" in powershell
    assert "'it''s a chair.png'" in powershell


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[House, str]]:
    """A service that wants a key, and the key."""
    key = new_key()
    house = House(tmp_path_factory.mktemp("guarded"), {"API_KEYS": setting_entry("studio", key)})
    with house.serving():
        yield house, key


def test_a_service_with_keys_is_used_with_one_of_them(
    open_studio: OpenStudio, browser: Browser, guarded: tuple[House, str]
) -> None:
    house, key = guarded
    page = browser.new_context().new_page()
    page.goto(f"http://127.0.0.1:{house.port}/")
    dialog = page.locator("#key-dialog")
    expect(dialog).to_be_visible()
    page.get_by_label("Key", exact=True).fill("wrong")
    page.get_by_role("button", name="Use this key").click()
    expect(dialog).to_contain_text("This key is not known.")
    page.get_by_label("Key", exact=True).fill(key)
    page.get_by_role("button", name="Use this key").click()
    expect(dialog).to_be_hidden()
    expect(page.locator("#recent-words")).to_have_text("Jobs will be listed here.")
    assert page.evaluate("localStorage.length") == 0

    studio = Studio(page, f"http://127.0.0.1:{house.port}")
    studio.drop(PICTURE)
    job_id = studio.generate()
    studio.shape()
    expect(page.locator(f"[data-job='{job_id}'] img")).to_be_visible()
    page.context.close()


def test_it_is_used_by_keyboard_alone(studio: Studio) -> None:
    page = studio.page
    file = {"name": "chair.png", "mimeType": "image/png", "buffer": PICTURE}
    page.on("filechooser", lambda chooser: chooser.set_files(file))  # type: ignore[call-overload]
    page.locator("#drop").focus()
    page.keyboard.press("Enter")
    page.locator("#drop img").wait_for()

    page.keyboard.press("Control+Enter")

    canvas = studio.shape()
    page.locator("#panes").focus()
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.tagName") == "CANVAS":
            break
    expect(canvas).to_be_focused()
    before = studio.picture_of(canvas)
    for key in ("w", "ArrowLeft", "+"):
        page.keyboard.press(key)
    studio.changed(canvas, before, share=0.01)


def test_every_control_has_a_name(open_studio: OpenStudio, house: House, outside: Outside) -> None:
    studio = open_studio(house, fragment=f"#job={finished(house, outside)}")
    studio.shape()

    nameless = studio.page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, canvas, img")].filter((one) => {
            const labels = [...(one.labels ?? [])].map((label) => label.textContent).join("");
            const by = (one.getAttribute("aria-labelledby") ?? "").split(" ");
            const referred = by.map((id) => document.getElementById(id)?.textContent ?? "").join("");
            const inner = one.querySelector("img")?.alt ?? "";
            const own = one.getAttribute("aria-label") || one.getAttribute("alt") || one.textContent || inner;
            return !(labels || referred || own) && one.getAttribute("alt") !== "";
        }).map((one) => one.outerHTML)"""
    )

    assert nameless == []


def test_a_phone_shows_it_without_scrolling_sideways(
    open_studio: OpenStudio, house: House, outside: Outside
) -> None:
    viewport = {"width": 360, "height": 780}
    fragment = f"#job={finished(house, outside)}"
    studio = open_studio(house, fragment=fragment, viewport=viewport, color_scheme="dark")
    studio.shape()

    assert studio.page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert studio.page.evaluate("document.scrollingElement.scrollWidth") <= 360


def test_a_recent_job_that_is_opened_on_a_phone_comes_into_view(
    open_studio: OpenStudio, house: House, outside: Outside
) -> None:
    job_id = finished(house, outside)
    studio = open_studio(house, viewport={"width": 360, "height": 780}, has_touch=True)

    studio.page.locator(f"[data-job='{job_id}'] .card-open").tap()

    expect(studio.shape()).to_be_in_viewport(ratio=0.9)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("answer", ["/a.png", "/nothing-here"])
def test_every_text_can_be_read(
    open_studio: OpenStudio, house: House, outside: Outside, scheme: str, answer: str
) -> None:
    job_id = house.submit(image_url=outside.url(answer), height_mm=60)
    house.wait_until(job_id, "succeeded" if answer == "/a.png" else "failed")
    studio = open_studio(house, fragment=f"#job={job_id}", color_scheme=scheme, reduced_motion="reduce")
    expect(studio.page.locator("[data-stage=deliver]")).to_have_attribute("data-state", "skipped")

    assert studio.page.evaluate(FAINT_TEXTS, 4.5) == []


def test_the_theme_is_switched_and_kept(studio: Studio) -> None:
    page = studio.page
    assert page.evaluate("document.documentElement.dataset.theme") == "light"

    page.get_by_role("button", name="Switch to dark colours").click()
    page.reload()

    expect(page.get_by_role("button", name="Switch to light colours")).to_be_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(19, 18, 16)"


def test_the_stand_in_says_that_it_is_one(studio: Studio) -> None:
    expect(studio.page.locator("#demo-notice")).to_contain_text("every picture becomes the same sphere")


@pytest.fixture(scope="module")
def embedded(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A running service as it comes, with the embedded model."""
    house = House(tmp_path_factory.mktemp("embedded"), {"MODEL_VARIANT": "", "MATTING_MODEL": "tiny"})
    with house.serving():
        yield house


def test_the_embedded_model_makes_a_mesh_of_a_picture_and_says_what_it_is(
    open_studio: OpenStudio, embedded: House
) -> None:
    studio = open_studio(embedded)
    expect(studio.page.locator("#demo-notice")).to_contain_text("Embedded demo model")
    studio.drop((ROOT / "examples/pictures/rocket.png").read_bytes(), "rocket.png")
    studio.fill(height_mm=90, seed=3, octree_resolution=40)
    studio.generate()

    canvas = studio.shape()

    assert num_colours(studio.picture_of(canvas)) > 100
    expect(studio.page.locator(".report")).to_contain_text("90 mm")


def test_an_example_picture_starts_with_one_click(open_studio: OpenStudio, embedded: House) -> None:
    studio = open_studio(embedded)
    studio.fill(octree_resolution=32, num_inference_steps=2)
    with studio.page.expect_response(lambda answer: answer.url.endswith("/generate-3d")) as sent:
        studio.page.get_by_role("button", name="Example: mug").click()
    job = embedded.wait_until(sent.value.json()["job_id"], "succeeded")
    assert job["cutout"]["source"] == "tiny"
    assert 0.05 < job["cutout"]["share"] < 0.5


@pytest.mark.skipif(
    os.environ.get("STUDIO_SCREENSHOTS") != "1", reason="STUDIO_SCREENSHOTS=1 writes docs/studio*.png"
)
def test_the_pictures_of_the_readme_are_taken(open_studio: OpenStudio, embedded: House) -> None:
    studio = open_studio(embedded, viewport={"width": 1440, "height": 900})
    for name, cells in (("mug", 64), ("vase", 64), ("rocket", 224)):
        studio.drop((ROOT / f"examples/pictures/{name}.png").read_bytes(), f"{name}.png")
        studio.fill(height_mm=90, seed=3, octree_resolution=cells)
        job_id = studio.generate()
        embedded.wait_until(job_id, "succeeded")
        studio.page.locator(f"[data-job='{job_id}'] img").wait_for()
    canvas = studio.shape()
    studio.page.locator("details[open]:has([name=octree_resolution]) > summary").click()
    studio.page.locator(".composer-scroll").evaluate("one => one.scrollTo(0, 0)")
    canvas.hover()
    schemes: tuple[tuple[Literal["light", "dark"], str], ...] = (("light", "studio"), ("dark", "studio-dark"))
    for scheme, name in schemes:
        studio.page.emulate_media(color_scheme=scheme)
        studio.picture_of(canvas)
        studio.save(ROOT / f"docs/{name}.png")
