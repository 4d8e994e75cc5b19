"""Jobs that begin with a mesh: which request they are, and what they keep."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from support.sample_job import job
from unit.ai_engine.api.test_admission import admission

from ai_engine.api.finishing.admission import Decoded, FinishAdmission
from ai_engine.api.request_body import Picture, RequestHeaders, Submission
from ai_engine.api.request_schema import MeshCheckRequest, VariantRequest
from ai_engine.errors import FileExpired, InvalidField
from ai_engine.job import DecodedShape, JobOptions

MESH = b"solid mesh"


def submission(mesh: bytes | None = MESH, **fields: Any) -> Submission[MeshCheckRequest]:
    request = MeshCheckRequest.model_validate({"session_id": "s", "asset_id": "a"} | fields)
    sent = Picture(io.BytesIO(mesh), hashlib.sha256(mesh).hexdigest()) if mesh else None
    return Submission(request, None, RequestHeaders("shop"), mesh=sent)


def test_a_mesh_that_came_is_kept_by_its_content(tmp_path: Path) -> None:
    door = FinishAdmission(admission(tmp_path))
    sent = submission(height_mm=40, formats=["3mf", "stl"])

    made = door.admit_mesh_check(door.draft_mesh_check(sent), sent)

    assert made.mesh is not None
    assert door.admission.store.path(made.mesh).read_bytes() == MESH
    assert (made.kind, made.has_picture, made.owner) == ("mesh_check", False, "shop")
    assert (made.format, made.more_formats, made.print_options.height_mm) == ("3mf", ("stl",), 40)
    assert made.options == JobOptions(seed=0)


def test_the_digest_tells_meshes_and_fields_apart(tmp_path: Path) -> None:
    door = FinishAdmission(admission(tmp_path))
    url = "https://93.184.216.34/part.stl"
    drafts = [
        door.draft_mesh_check(one)
        for one in (
            submission(),
            submission(b"other"),
            submission(height_mm=3),
            submission(None, mesh_url=url),
            submission(None, mesh_url=url + "?2"),
        )
    ]
    assert len({one.request_sha256 for one in drafts}) == 5
    assert drafts[0].request_sha256 == door.draft_mesh_check(submission()).request_sha256


@pytest.mark.parametrize("url", ["http://10.0.0.1/part.stl", "ftp://example.com/part.stl"])
def test_an_address_that_may_not_be_used_is_refused_by_its_field(tmp_path: Path, url: str) -> None:
    door, asked = FinishAdmission(admission(tmp_path)), submission(None, mesh_url=url)
    with pytest.raises(InvalidField) as caught:
        door.admit_mesh_check(door.draft_mesh_check(asked), asked)
    assert (caught.value.field, caught.value.field_code) == ("mesh_url", "mesh_url_forbidden")


def test_a_variant_has_copies_of_its_own_and_one_of_a_callers_mesh_has_no_outline(tmp_path: Path) -> None:
    door, source = FinishAdmission(admission(tmp_path)), job()
    kept = door.admission.store.put_bytes(source.job_id, "mesh.npz", MESH)
    shape = DecodedShape(source.job_id, kept, None, {}, mm_per_unit=25.4)
    asked = Submission(VariantRequest(height_mm=5).of(source), None)
    draft, known = door.draft_variant(source, asked), Decoded(shape, source.options)

    made = door.admit_variant(draft, asked, known)

    assert made.decoded is not None
    assert made.decoded.mesh.uri.startswith(made.job_id)
    assert (made.kind, made.variant_of, made.has_picture) == ("variant", source.job_id, False)
    assert made.decoded.mm_per_unit == 25.4
    door.admission.store.remove(source.job_id)
    with pytest.raises(FileExpired):
        door.admit_variant(draft, asked, known)


def test_a_retry_has_its_own_copy_of_the_mesh(tmp_path: Path) -> None:
    door = FinishAdmission(admission(tmp_path))
    sent = submission()
    made = door.admit_mesh_check(door.draft_mesh_check(sent), sent)

    again = door.admission.retry(made)

    assert again.mesh is not None
    assert made.mesh is not None
    assert again.mesh == replace(made.mesh, uri=again.mesh.uri)
    assert again.mesh.uri.startswith(again.job_id)


def test_a_variant_takes_the_pedestal_that_its_job_had_and_looks_up_no_name(tmp_path: Path) -> None:
    door, base = FinishAdmission(admission(tmp_path)), {"mesh_url": "http://10.0.0.1/slab.stl"}
    source = job()
    mesh, slab = (door.admission.store.put_bytes(source.job_id, name, MESH) for name in ("mesh", "slab"))
    known = Decoded(DecodedShape(source.job_id, mesh, None, {}), source.options, slab)
    asked = Submission(VariantRequest(height_mm=5, base=base).of(source), None)
    draft = door.draft_variant(source, asked)

    made = door.admit_variant(draft, asked, known)

    assert made.pedestal == replace(slab, uri=f"{made.job_id}/slab")
    with pytest.raises(InvalidField) as caught:
        door.admit_variant(draft, asked, replace(known, pedestal=None))
    assert caught.value.field == "base.mesh_url"


def test_a_variant_of_a_mesh_in_millimetres_needs_no_height_and_one_of_a_picture_does() -> None:
    wishes = VariantRequest(base={}, slice={})
    assert wishes.of(job(mesh_url="https://a.example/part.stl")).base is not None
    with pytest.raises(ValidationError, match="give height_mm too"):
        wishes.of(job())
