"""What the service says of itself, as its callers see it: alive, ready, which model, under which licences."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


class Alive(BaseModel):
    """The process answers."""

    status: Literal["alive"] = "alive"


class Health(BaseModel):
    """As callers poll it."""

    status: Literal["ok"] = "ok"
    gpu: bool
    model: str | None = Field(description="None while no worker has said.")


class Readiness(BaseModel):
    """Whether jobs are taken and worked on."""

    status: str = Field(description="ready; or starting, loading 43 %, warming up, busy, draining, failed.")


class LicenceFacts(BaseModel):
    """What one may do with a thing."""

    name: str
    licence: str
    url: str
    conditions: list[str]


class Licences(BaseModel):
    """Of what is in use; those of the models hold for the meshes too."""

    code: LicenceFacts
    shape_model: LicenceFacts | None = Field(description="None while no worker has said which one it has.")
    matting_model: LicenceFacts | None = Field(description="None where backgrounds are not removed.")
