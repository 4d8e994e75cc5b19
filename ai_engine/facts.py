"""What is known of a job's cut-out, of its field and of its mesh, as callers read it in events and in `GET /jobs/{id}`.

Values only. How they are measured: `images/cutout_facts.py`, `pipeline/shape_model.py`, `printing/report.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

from pydantic import ConfigDict
from typing_extensions import TypedDict  # below Python 3.12 pydantic does not take the one of `typing`

MeshFormat = Literal["stl", "3mf", "glb", "obj", "ply"]
DecodeMode = Literal["strict", "fast"]
Sampler = Literal["euler", "adams"]
Speed = Literal["faithful", "fast"]
Border = Literal["left", "top", "right", "bottom"]
ViewName = Literal["front", "left", "back", "right"]
"""The side of the object that a picture shows: front, then quarter turns clockwise as seen from above."""
CutOutWarning = Literal["covers_everything", "touches_border", "small", "soft", "several_objects"]

VIEWS: tuple[ViewName, ...] = get_args(ViewName)

MEDIA_TYPES: dict[MeshFormat, str] = {
    "stl": "model/stl",
    "3mf": "model/3mf",
    "glb": "model/gltf-binary",
    "obj": "model/obj",
    "ply": "application/octet-stream",  # none is registered
}


class ModelLabel(TypedDict, total=False):
    """The shape model of a job; empty where the job ended before one was asked."""

    id: str
    licence: str
    """Of its weights, which the mesh is under too."""


@dataclass(frozen=True)
class PartLicence:
    """The licence of one part of a model."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(use_attribute_docstrings=True)

    part: str
    """weights, picture encoder, ..."""
    name: str
    """Its SPDX identifier, or its name."""
    url: str
    """Where its text is."""
    seen_on: str
    """When that was looked up, as 2026-11-28."""


@dataclass(frozen=True)
class ModelFacts:
    """A shape model's card: what it is, what one may do with it, how it is asked unless a request says otherwise."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(use_attribute_docstrings=True)

    model_id: str
    """As events and jobs name it."""
    title: str
    licences: tuple[PartLicence, ...]
    """Of its parts, the weights first."""
    territory_excluded: tuple[str, ...] = ()
    """Codes of the countries where the licence of the weights grants nothing."""
    outputs_restricted: bool = False
    """True when that licence binds the meshes too."""
    attribution: str = ""
    """What has to be said of its makers."""
    source: str = ""
    """Where the weights come from; empty where that is not known."""
    revision: str | None = None
    """The commit they are pinned at; None where none is known."""
    memory_bytes: int | None = None
    """What a job takes of a GPU, about, in half precision; None where it needs none."""
    verified_on: Literal["fixtures", "weights"] = "fixtures"
    """What the numbers of this implementation were compared on."""
    num_inference_steps: int = 50
    """Unless a request says otherwise."""
    guidance_scale: float | None = None
    """Unless a request says otherwise; None where the model has none."""
    bounds: float | None = None
    """Half the side of the cube that is searched, unless a request says otherwise."""
    samplers: tuple[Sampler, ...] = ("euler", "adams")
    """Those that the model may be asked with."""
    views: tuple[ViewName, ...] = ("front",)
    """The sides of an object that it takes pictures of."""

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> ModelFacts:
        """The facts that `dataclasses.asdict` and JSON made plain values of."""
        lists = {name: tuple(fields[name]) for name in ("territory_excluded", "samplers", "views")}
        licences = tuple(PartLicence(**one) for one in fields["licences"])
        return cls(**fields | lists | {"licences": licences})


@dataclass(frozen=True)
class CutOutFacts:
    """Where the object's outline comes from, and what is suspicious about it."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(use_attribute_docstrings=True)

    source: str
    """alpha: the picture's own alpha channel; mask: the caller's; none: nothing was cut out; else the model's name."""
    share: float
    """Share of the picture that the object covers, 0 to 1."""
    borders: tuple[Border, ...]
    """Borders of the picture that the object touches."""
    parts_dropped: int
    """Small separate parts, stray pixels included, that were cleared."""
    warnings: tuple[CutOutWarning, ...]
    """What may spoil the mesh.

    covers_everything: next to nothing is background. touches_border: the object may go on outside the picture. small:
    so few pixels that details are guessed. soft: much of its inside is see-through. several_objects: more than one part
    is left, and the shape model takes them for one object."""

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> CutOutFacts:
        """The facts that `dataclasses.asdict` and JSON made plain values of."""
        lists = {name: tuple(fields[name]) for name in ("borders", "warnings")}
        return cls(**fields | lists)


@dataclass(frozen=True)
class DecodeFacts:
    """How the field was searched for its surface, and how far that is warranted to be all of it."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(use_attribute_docstrings=True)

    mode: DecodeMode
    coarse_resolution: tuple[int, int, int]
    """Cells along x, y, z of the lattice that the search began on."""
    saturation_distance: float | None
    """How far from the surface the field saturates, in model units; None when none was found to measure at."""
    is_covered: bool
    """True when no separate part can hide between the first points, as far as the field shows. False: parts
    smaller than about `saturation_distance` may be absent."""
    num_queries: int
    """Points asked of the field."""
    warnings: tuple[str, ...] = ()
    """What is suspicious about the field (its sign at the box's corners, its range), in words; none in the usual case.
    Nothing is corrected."""

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> DecodeFacts:
        """The facts that `dataclasses.asdict` and JSON made plain values of."""
        x, y, z = fields["coarse_resolution"]
        lists = {"coarse_resolution": (x, y, z), "warnings": tuple(fields.get("warnings", ()))}
        return cls(**fields | lists)


@dataclass(frozen=True)
class AdditionFacts:
    """One thing that was added to the mesh."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(use_attribute_docstrings=True)

    kind: Literal["hollow", "base", "keyring", "magnet"]
    """What it is."""
    volume_mm3: float
    """Change of the solid's volume; negative where material was taken away."""
    count: int = 1
    """hollow: cavities made; else 1."""
    drains: int = 0
    """Holes drilled."""
    resin_grams: float = 0.0
    """Change of the cured resin that it takes; negative: saved."""


@dataclass(frozen=True)
class CostFacts:
    """What a print costs, estimated without a slicer (`docs/performance.md` has the errors)."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(use_attribute_docstrings=True)

    grams: dict[str, float]
    """By material: pla, petg, abs and tpu with a shell and 15 % of infill; resin of the whole volume."""
    hours: float
    """Of a filament printer with layers of 0.2 mm and a nozzle of 0.4 mm."""
    fits: tuple[str, ...]
    """Printers whose build volume holds it as it stands, turned by a quarter where that helps."""

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> CostFacts:
        """The facts that `dataclasses.asdict` and JSON made plain values of."""
        return cls(**fields | {"fits": tuple(fields["fits"])})


@dataclass(frozen=True)
class SlicingFacts:
    """What the slicer says of the print; `GET /jobs/{job_id}/gcode` has its G-code."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(use_attribute_docstrings=True)

    slicer: str
    """Name and version of the program."""
    printer: str
    filament: str
    print_settings: str
    grams: float | None
    """Of filament, supports included; None where the filament's profile has no density."""
    hours: float
    support_share: float
    """Share of the filament that becomes supports, 0 to 1."""
    layers: int
    gcode_bytes: int
    gcode_sha256: str
    """Of the whole file, 64 hex digits."""


@dataclass(frozen=True)
class PrintFacts:
    """What a slicer will find. Lengths in mm, numbers rounded to four digits."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(use_attribute_docstrings=True)

    watertight: bool
    """Every edge has exactly two faces, which run along it in opposite directions."""
    closed: bool
    """The surface ends nowhere."""
    manifold: bool
    """No edge has more than two faces."""
    consistent_winding: bool
    """No two faces run along an edge in the same direction."""
    bodies: int
    """Parts that share no vertex, hollows apart."""
    hollows: int
    """Closed hollows inside."""
    triangles: int
    volume_cm3: float
    """Negative when the faces look inwards; meaningless unless watertight."""
    area_cm2: float
    bbox_mm: tuple[float, float, float]
    """Side lengths of the bounding box along x, y, z."""
    self_intersection_share: float
    """Share of the faces that cut through others."""
    smallest_wall_mm: float | None
    """1 % of the surface belongs to thinner walls. None above 5 mm, in model units, and where there is no solid."""
    printers: tuple[str, ...]
    """Kinds of printer that make walls as thin as these: fdm, resin."""
    overhang_share: float
    """Share of the surface that hangs over by more than 45 degrees, the ground apart."""
    contact_area_mm2: float
    """Area that stands flat on the plate."""
    simplification_error_mm: float | None
    """The farthest that the surface moved when faces were taken away (Hausdorff, sampled); None: none were."""
    repairs: dict[str, int]
    """What had to be mended in what the shape model gave, counted."""
    printable: bool
    warnings: tuple[str, ...]
    """Whole sentences, what prevents a print first; empty when there is nothing to say."""
    ghost_plane: Literal["floor", "wall", "sheet"] | None = None
    """A flat floor, wall or sheet that the shape model added and the picture does not show; not printable with it."""
    additions: tuple[AdditionFacts, ...] = ()
    """What was added to the object or taken from it, in that order; `height_mm` is the object's without."""
    costs: CostFacts | None = None
    """None in model units, and where there is no solid."""
    slicing: SlicingFacts | None = None
    """None where `slice` was not asked."""

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> PrintFacts:
        """The facts that `dataclasses.asdict` and JSON made plain values of."""
        lists = {name: tuple(fields[name]) for name in ("bbox_mm", "printers", "warnings")}
        additions = tuple(AdditionFacts(**one) for one in fields.get("additions", ()))
        costs = CostFacts.from_dict(fields["costs"]) if fields.get("costs") else None
        slicing = SlicingFacts(**fields["slicing"]) if fields.get("slicing") else None
        return cls(**fields | lists | {"additions": additions, "costs": costs, "slicing": slicing})


@dataclass(frozen=True)
class MeshFacts:
    """What is known of the mesh without opening its file."""

    format: MeshFormat
    faces: int
    units: Literal["mm", "model"]
    """`mm`: Z up. `model`: the searched cube's side is `2 * bounds`; Y up."""
    bbox: tuple[float, float, float]
    """Side lengths along x, y, z."""
    print: PrintFacts
    """What a slicer will find."""

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> MeshFacts:
        """The facts that `dataclasses.asdict` and JSON made plain values of."""
        x, y, z = fields["bbox"]
        return cls(**fields | {"bbox": (x, y, z), "print": PrintFacts.from_dict(fields["print"])})
