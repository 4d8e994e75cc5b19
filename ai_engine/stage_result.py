"""What a finished stage, and a finished job, leave behind: small enough to live in the job engine, unlike files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar

from pydantic import ConfigDict

from ai_engine.errors import JobError
from ai_engine.facts import CutOutFacts, DecodeFacts, MeshFacts, MeshFormat, ModelLabel, PrintFacts, ViewName
from ai_engine.job import Artifact, JobOptions
from ai_engine.stage import Stage
from ai_engine.wishes.print_options import PrintOptions


@dataclass(frozen=True)
class StageResult:
    """The file that a stage wrote and the facts that go with it."""

    artifact: Artifact
    seconds: Mapping[str, float]
    """By the name of the stage; the step `denoise` has two, denoise and decode."""
    decode: DecodeFacts | None = None
    degraded: tuple[str, ...] = ()
    """What was lowered because the device's memory ran short."""
    preview: Artifact | None = None
    """A picture of the mesh, where it is drawn with the job."""
    drawable: Artifact | None = None
    """The finished mesh that the picture is drawn from, where that waits until it is asked for."""
    mesh: MeshFacts | None = None
    cutout: CutOutFacts | None = None
    mask: Artifact | None = None
    """The caller's mask, beside the picture."""
    views: Mapping[ViewName, Artifact] = field(default_factory=dict)
    """The files of several views; `artifact` is the first of them."""
    cutouts: Mapping[ViewName, CutOutFacts] = field(default_factory=dict)
    """Of several views, in place of `cutout`."""
    more_files: Mapping[MeshFormat, Artifact] = field(default_factory=dict)
    """The mesh in further formats."""
    mm_per_unit: float | None = None
    """Of a caller's own mesh whose file knows its unit."""
    check: PrintFacts | None = None
    """A caller's own mesh as it came."""
    gcode: Artifact | None = None
    """What the slicer made of the mesh, where that was asked."""
    pedestal: Artifact | None = None
    """The file of `base.mesh_url` as it came, where the stage fetched that."""

    def file(self, view: ViewName | None = None) -> Artifact | None:
        """The file, or that of one of several views; None when there is no such view."""
        return self.artifact if view is None else self.views.get(view)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, as the job engine keeps them."""
        return asdict(self) | {"seconds": dict(self.seconds), "degraded": list(self.degraded)}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> StageResult:
        """The result that `to_dict` wrote, in this version or an earlier one, which left out what it had not."""
        files = ("preview", "drawable", "mask", "gcode", "pedestal")
        kept = {name: Artifact(**fields[name]) if fields.get(name) else None for name in files}
        mesh, decode, cutout, check = (fields.get(name) for name in ("mesh", "decode", "cutout", "check"))
        return cls(
            Artifact(**fields["artifact"]),
            fields["seconds"],
            decode=DecodeFacts.from_dict(decode) if decode else None,
            degraded=tuple(fields.get("degraded") or ()),
            mesh=MeshFacts.from_dict(mesh) if mesh else None,
            cutout=CutOutFacts.from_dict(cutout) if cutout else None,
            views={name: Artifact(**file) for name, file in fields.get("views", {}).items()},
            cutouts=_cutouts(fields),
            more_files=_files(fields),
            mm_per_unit=fields.get("mm_per_unit"),
            check=PrintFacts.from_dict(check) if check else None,
            **kept,
        )


@dataclass(frozen=True)
class UsedOptions:
    """A job's options as used, with the seed drawn and what the model filled in."""

    model: JobOptions | None
    """None where no shape model was asked."""
    print: PrintOptions = field(default_factory=PrintOptions)
    degraded: tuple[str, ...] = ()
    """What was lowered because the device's memory ran short."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, all side by side, as callers read them."""
        asked = asdict(self.model) if self.model else {}
        return asked | asdict(self.print) | {"degraded": list(self.degraded)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> UsedOptions:
        """The options that `to_dict` wrote, in this version or an earlier one, which had fewer."""
        model, asked = (_of_kind(kind, values) for kind in (JobOptions, PrintOptions))
        shape = JobOptions(**model) if model else None
        return cls(shape, PrintOptions.from_dict(asked), tuple(values.get("degraded") or ()))


def _of_kind(kind: type[JobOptions | PrintOptions], values: Mapping[str, Any]) -> dict[str, Any]:
    return {one.name: values[one.name] for one in fields(kind) if one.name in values}


@dataclass(frozen=True)
class JobFailure:
    """Why a job ended without a mesh, as callers read it."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(use_attribute_docstrings=True)

    code: str
    """Stable; gpu_out_of_memory, image_invalid, ..."""
    title: str
    detail: str
    """One sentence."""
    stage: Stage
    retryable: bool
    """Another try may help."""

    @classmethod
    def of(cls, error: JobError) -> JobFailure:
        """What the caller may know of `error`."""
        return cls(error.code, error.title, error.detail, Stage(error.stage), error.retryable)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> JobFailure:
        """The failure that `dataclasses.asdict` and JSON made plain values of."""
        return cls(**fields | {"stage": Stage(fields["stage"])})


@dataclass(frozen=True)
class JobResult:
    """How a job ended: with an artifact, or with a failure."""

    timings_s: dict[str, float] = field(default_factory=dict)
    """Seconds per stage."""
    options: UsedOptions | None = None
    """None where the job never began."""
    model: ModelLabel = field(default_factory=ModelLabel)
    """Its id and its licence."""
    artifact: Artifact | None = None
    preview: Artifact | None = None
    """A picture of the mesh, where it was drawn with the job."""
    drawable: Artifact | None = None
    """What the picture is drawn from when it is first asked for; None where it was drawn with the job."""
    mesh: MeshFacts | None = None
    decode: DecodeFacts | None = None
    cutout: CutOutFacts | None = None
    """None where no cut-out was made; there also where a later stage failed."""
    cutouts: dict[ViewName, CutOutFacts] = field(default_factory=dict)
    """Of several views, in place of `cutout`."""
    failure: JobFailure | None = None
    more_files: dict[MeshFormat, Artifact] = field(default_factory=dict)
    """The mesh in further formats."""
    check: PrintFacts | None = None
    """A caller's own mesh as it came; None where there was none."""
    gcode: Artifact | None = None
    """What the slicer made of the mesh, where that was asked."""

    def file(self, file_format: MeshFormat | None = None) -> Artifact | None:
        """The mesh file in that format, or in the first; None where there is none."""
        if file_format is None or (self.mesh is not None and file_format == self.mesh.format):
            return self.artifact
        return self.more_files.get(file_format)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self) | {"options": self.options.to_dict() if self.options else {}}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> JobResult:
        """The result that `to_dict` wrote."""
        kinds: dict[str, Callable[..., Any]] = {
            "options": lambda **values: UsedOptions.from_dict(values),
            "artifact": Artifact,
            "preview": Artifact,
            "drawable": Artifact,
            "gcode": Artifact,
            "mesh": lambda **fields: MeshFacts.from_dict(fields),
            "decode": lambda **fields: DecodeFacts.from_dict(fields),
            "cutout": lambda **fields: CutOutFacts.from_dict(fields),
            "failure": lambda **fields: JobFailure.from_dict(fields),
            "check": lambda **fields: PrintFacts.from_dict(fields),
        }
        values = {name: kinds[name](**fields[name]) if fields.get(name) else None for name in kinds}
        return cls(**fields | values | {"cutouts": _cutouts(fields), "more_files": _files(fields)})


def _files(fields: Mapping[str, Any]) -> dict[MeshFormat, Artifact]:
    """The files in further formats; none in what an earlier version wrote."""
    return {name: Artifact(**file) for name, file in fields.get("more_files", {}).items()}


def _cutouts(fields: Mapping[str, Any]) -> dict[ViewName, CutOutFacts]:
    """The facts of several views' cut-outs; none in what an earlier version wrote."""
    return {name: CutOutFacts.from_dict(facts) for name, facts in fields.get("cutouts", {}).items()}
