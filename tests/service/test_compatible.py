"""Clients of other services at this one: recorded requests, byte for byte but for host, key, picture and length.

`/generate` and `/send`: what `requests.post(url, json=...)` puts on the wire for the fields of Hunyuan3D-2's Blender
add-on, in its order and with its defaults, and for those of scripts of its API server. `/v1/meshes`: a form and JSON as
curl sends them, with the fields that clients of SGLang send.
"""

from __future__ import annotations

import base64
import http.client
import io
import json
import socket
from collections.abc import Iterator

import pytest
import trimesh

from ai_engine.web.api_keys import new_key, setting_entry
from service.house import Answer, House, Outside, cut_out_png, wait_for

KEYS = {name: new_key() for name in ("shop", "press")}
IMAGE = base64.b64encode(cut_out_png()).decode()

_BLENDER = """POST /generate HTTP/1.1
Host: {host}
User-Agent: python-requests/2.34.2
Accept-Encoding: gzip, deflate
Accept: */*
Connection: keep-alive
Content-Length: {length}
Content-Type: application/json
Authorization: {key}

"""
_OPTIONS = '"octree_resolution": 256, "num_inference_steps": 20, "guidance_scale": 5.5, "texture": false'
BLENDER_BODY = '{"image": "%s", ' + _OPTIONS + "}"
BLENDER_TEXT = '{"text": "a chair", ' + _OPTIONS + "}"
BLENDER_TEXTURE = BLENDER_BODY.replace('"texture": false', '"texture": true')
BLENDER_VIEWS = BLENDER_BODY.replace("}", ', "image_left": "%s", "image_back": "%s"}')
_SEND = _BLENDER.replace("/generate", "/send")
SEND_BODY = '{"image": "%s", "seed": 7, "octree_resolution": 128, "num_inference_steps": 5, "type": "obj"}'
_FORM = """POST /v1/meshes HTTP/1.1
Host: {host}
User-Agent: curl/7.88.1
Accept: */*
Authorization: {key}
Content-Length: {length}
Content-Type: multipart/form-data; boundary=------------------------aa450775ba1f70c5

"""
_BOUNDARY = b"--------------------------aa450775ba1f70c5"
_FIELDS = {
    b"model": b"tencent/Hunyuan3D-2",
    b"prompt": b"generate 3d mesh",
    b"seed": b"0",
    b"num_inference_steps": b"20",
    b"output_format": b"glb",
}
FORM_BODY = b"".join(
    [
        *(
            _BOUNDARY + b'\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % part
            for part in _FIELDS.items()
        ),
        _BOUNDARY + b'\r\nContent-Disposition: form-data; name="image"; filename="sample_input.png"\r\n',
        b"Content-Type: image/png\r\n\r\n" + cut_out_png() + b"\r\n" + _BOUNDARY + b"--\r\n",
    ]
)
_JSON = """POST /v1/meshes HTTP/1.1
Host: {host}
User-Agent: curl/7.88.1
Accept: */*
Content-Type: application/json
Authorization: {key}
Content-Length: {length}

"""
JSON_BODY = (
    '{"prompt": "generate 3d mesh", "input_image": "%s", "model": null, "seed": 3, "generator_device": "cuda", '
    '"num_inference_steps": 5, "guidance_scale": null, "negative_prompt": null, "output_format": "obj"}'
)
MANY_FIELDS = json.dumps({f"k{number}": number for number in range(9000)})
MISSING_IMAGE = '{"prompt": "mesh"}'


def bearer(name: str) -> str:
    return f"Bearer {KEYS[name]}"


def in_url(name: str) -> str:
    """What `requests` and browsers send for http://anyone:KEY@host."""
    return "Basic " + base64.b64encode(f"anyone:{KEYS[name]}".encode()).decode()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    keys = ",".join(setting_entry(name, key) for name, key in KEYS.items())
    settings = {"COMPATIBLE_ROUTES": "meshes,hunyuan3d", "API_KEYS": keys}
    one = House(tmp_path_factory.mktemp("compatible"), settings, key=KEYS["shop"])
    with one.serving():
        yield one


def send(house: House, head: str, body: str | bytes, *, key: str = "") -> Answer:
    """The answer to a recorded request."""
    with connect(house, head, body, key=key) as sock:
        answer = http.client.HTTPResponse(sock)
        answer.begin()
        return Answer(
            answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        )


def connect(house: House, head: str, body: str | bytes, *, key: str = "") -> socket.socket:
    data = body if isinstance(body, bytes) else body.encode()
    host = f"127.0.0.1:{house.port}"
    lines = head.format(host=host, length=len(data), key=key or bearer("shop")).replace("\n", "\r\n")
    sock = socket.create_connection(("127.0.0.1", house.port), timeout=120)
    sock.sendall(lines.encode() + data)
    return sock


def ask(house: House, method: str, path: str, *, key: str = "shop") -> Answer:
    return house.ask(method, path, headers={"Authorization": bearer(key)})


def is_closed_glb(data: bytes) -> bool:
    mesh = trimesh.load(io.BytesIO(data), file_type="glb", force="mesh")
    return bool(mesh.is_watertight) and len(mesh.faces) > 100


def test_the_blender_add_on_gets_its_mesh_with_the_key_in_its_url(house: House) -> None:
    said = send(house, _BLENDER, BLENDER_BODY % IMAGE, key=in_url("press"))

    assert (said.status, said.headers["content-type"]) == (200, "model/gltf-binary")
    assert is_closed_glb(said.body)
    (job,) = ask(house, "GET", "/jobs?session_id=hunyuan3d", key="press").json["jobs"]
    options = house.ask("GET", job["status_url"], headers={"Authorization": bearer("press")}).json["options"]
    assert (options["seed"], options["octree_resolution"]) == (1234, 256)
    assert (options["num_inference_steps"], options["guidance_scale"]) == (20, 5.5)


@pytest.mark.parametrize(
    ("body", "status", "code", "words"),
    [
        (BLENDER_TEXT, 422, "validation_failed", "not of text"),
        (BLENDER_TEXTURE % IMAGE, 422, "validation_failed", "no textures"),
        (BLENDER_BODY % "bm90IGEgcGljdHVyZQ==", 422, "validation_failed", "PNG"),
        (BLENDER_BODY.replace("20", "0") % IMAGE, 422, "validation_failed", "num_inference_steps"),
        ("{", 422, "validation_failed", "JSON"),
        (MANY_FIELDS, 413, "body_too_large", "Besides the pictures"),
    ],
)
def test_what_is_not_made_is_refused_in_the_form_of_that_server(
    house: House, body: str, status: int, code: str, words: str
) -> None:
    said = send(house, _BLENDER, body)

    assert (said.status, said.json["error_code"], said.json["code"]) == (status, 1, code)
    assert words in said.json["text"]


def test_several_views_of_the_add_on_are_views(house: House) -> None:
    said = send(house, _BLENDER, BLENDER_VIEWS % (IMAGE, IMAGE, IMAGE))

    assert is_closed_glb(said.body)
    job_id = ask(house, "GET", "/jobs?session_id=hunyuan3d").json["jobs"][0]["job_id"]
    assert house.job(job_id)["cutouts"].keys() == {"front", "left", "back"}


def test_a_caller_of_generate_who_hangs_up_has_the_job_cancelled(house: House, outside: Outside) -> None:
    outside.may_answer.clear()
    body = BLENDER_BODY % outside.url("/held.png")
    before = {job["job_id"] for job in ask(house, "GET", "/jobs").json["jobs"]}
    sock = connect(house, _BLENDER, body)
    new = wait_for(
        lambda: {job["job_id"] for job in ask(house, "GET", "/jobs").json["jobs"]} - before, "it is queued"
    )
    sock.close()

    try:
        assert house.wait_until_over(new.pop())["status"] == "cancelled"
    finally:
        outside.may_answer.set()


def test_a_job_is_sent_and_its_mesh_comes_with_its_status(house: House) -> None:
    uid = send(house, _SEND, SEND_BODY % IMAGE).json["uid"]
    first = ask(house, "GET", f"/status/{uid}").json
    done = wait_for(
        lambda: (said := ask(house, "GET", f"/status/{uid}").json)["status"] != "processing" and said,
        "it is over",
    )

    assert first["status"] in ("processing", "completed")
    assert done["status"] == "completed"
    assert base64.b64decode(done["model_base64"]) == ask(house, "GET", f"/jobs/{uid}/mesh").body
    other = ask(house, "GET", f"/status/{uid}", key="press")
    assert (other.status, other.json["error_code"], other.json["code"]) == (404, 1, "not_found")


def test_a_job_that_failed_is_an_error_with_its_sentence(house: House, outside: Outside) -> None:
    uid = send(house, _SEND, json.dumps({"image": outside.url("/none.jpg")})).json["uid"]
    house.wait_until_over(uid)

    said = ask(house, "GET", f"/status/{uid}").json
    assert (said["status"], said["code"]) == ("error", "image_download_failed")
    assert said["message"]
    mesh = ask(house, "GET", f"/v1/meshes/{uid}").json
    assert (mesh["status"], mesh["error"]["code"]) == ("failed", "image_download_failed")
    assert ask(house, "GET", f"/v1/meshes/{uid}/content").status == 404


@pytest.mark.parametrize(
    ("head", "body"), [(_FORM, FORM_BODY), (_JSON, JSON_BODY % IMAGE)], ids=["form", "json"]
)
def test_a_mesh_is_created_polled_downloaded_listed_and_deleted(
    house: House, head: str, body: str | bytes
) -> None:
    created = send(house, head, body)
    assert created.status == 200
    mesh = created.json
    assert (mesh["object"], mesh["url"], mesh["error"]) == ("mesh", None, None)
    assert mesh["status"] in ("queued", "in_progress", "completed")
    path = f"/v1/meshes/{mesh['id']}"
    done = wait_for(lambda: (one := ask(house, "GET", path).json)["completed_at"] and one, "it is over")

    assert (done["status"], done["progress"]) == ("completed", 100)
    assert done["created_at"] <= done["completed_at"] < done["expires_at"]
    content = ask(house, "GET", path + "/content")
    assert (content.status, len(content.body)) == (200, done["file_size_bytes"])
    assert done["format"] == ("glb" if head == _FORM else "obj")
    assert done["format"] != "glb" or is_closed_glb(content.body)
    listed = ask(house, "GET", "/v1/meshes?limit=10&order=desc").json
    assert (listed["object"], listed["data"][0]["id"]) == ("list", mesh["id"])
    deleted = ask(house, "DELETE", path)
    assert (deleted.status, deleted.json["status"]) == (200, "completed")


def test_the_list_goes_on_after_a_mesh_and_is_of_its_key(house: House) -> None:
    ids = [send(house, _JSON, JSON_BODY % IMAGE).json["id"] for _ in range(3)][::-1]
    first = ask(house, "GET", "/v1/meshes?limit=2").json
    rest = ask(house, "GET", f"/v1/meshes?after={first['data'][1]['id']}").json

    assert [one["id"] for one in first["data"]] == ids[:2]
    assert (first["has_more"], rest["data"][0]["id"]) == (True, ids[2])
    assert ask(house, "GET", "/v1/meshes", key="press").json["data"] == []
    for wrong in ("order=asc", "limit=0", "limit=many"):
        said = ask(house, "GET", f"/v1/meshes?{wrong}")
        assert (said.status, said.json["code"]) == (422, "validation_failed")


def test_a_mesh_that_waits_is_stopped_by_delete_and_has_no_content(house: House, outside: Outside) -> None:
    outside.may_answer.clear()
    try:
        body = json.dumps({"input_image": outside.url("/held.png")})
        path = f"/v1/meshes/{send(house, _JSON, body).json['id']}"
        content = ask(house, "GET", path + "/content")
        assert (content.status, content.json["code"]) == (404, "not_ready")
        assert ask(house, "DELETE", path).status == 200
        wait_for(lambda: ask(house, "GET", path).json["status"] == "cancelled", "it is cancelled")
    finally:
        outside.may_answer.set()


def test_a_mesh_without_a_picture_and_one_without_a_key_are_refused(house: House) -> None:
    missing = send(house, _JSON, MISSING_IMAGE)
    assert (
        missing.status,
        "input_image" in missing.json["detail"] or "picture" in missing.json["detail"],
    ) == (
        422,
        True,
    )
    for head, body in ((_JSON, MISSING_IMAGE), (_BLENDER, BLENDER_TEXT)):
        said = send(house, head, body, key="Bearer aie_wrong")
        assert (said.status, said.json["code"]) == (401, "unauthorized")
        assert "Bearer" in said.headers["www-authenticate"]
