"""A checkpoint: whether it is there, or what else is, whether its licence allows it, and how it is loaded to fit."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from ai_engine.errors import StartupError
from ai_engine.facts import VIEWS, ModelFacts, PartLicence
from ai_engine.pipeline.device import dtype_of
from ai_engine.published_weights import FOLDERS, SHAPE_MODELS
from ai_engine.settings import Settings
from hy3dgen import errors as shape_errors
from hy3dgen import models
from hy3dgen.families.card import Card
from hy3dgen.runtime.out_of_memory import first_that_fits, free_memory
from hy3dgen.shape_model import ShapeModel as LoadedModel
from hy3dgen.weights.offload import NOWHERE, Residence

if TYPE_CHECKING:
    import torch

MODELS_FOLDER = Path("models")
CHECKPOINTS = (".safetensors", ".ckpt")
PARTS = ("encoder.safetensors", "matting")
"""What lies among checkpoints and is none."""

logger = logging.getLogger(__name__)


def check_checkpoint(settings: Settings) -> Card:
    """The card of the checkpoint of `settings`, which may be used where TERRITORY says; loads no weights.

    Raises:
        StartupError: it is not there, of no known family, or its licence leaves TERRITORY out.
    """
    check_present(settings.model_path)
    try:
        card = models.card_of(settings.model_path, settings.model_variant)
    except shape_errors.CheckpointError as error:
        raise StartupError(str(error)) from error
    refusal = territory_refusal(card, settings.territory)
    if refusal is not None:
        raise StartupError(refusal)
    return card


def card_facts(model: LoadedModel, *, takes_views: bool) -> ModelFacts:
    """The card of a loaded model, as callers read it."""
    card, family = model.card, model.family
    return ModelFacts(
        card.model_id,
        card.title,
        tuple(PartLicence(one.part, one.name, one.url, one.seen_on) for one in card.licences),
        card.territory_excluded,
        card.outputs_restricted,
        card.attribution,
        card.source,
        card.revision,
        card.memory_bytes,
        card.verified_on,
        model.defaults.num_steps,
        model.defaults.guidance_scale,
        family.frame.half_extent,
        samplers=("euler",) if family.is_distilled else ("euler", "adams"),
        views=VIEWS if takes_views else ("front",),
    )


def territory_refusal(card: Card, territory: str | None) -> str | None:
    """Why the model may not be used in `territory`, a country code or EU; None where it may, or none is said."""
    if territory is None or not card.excludes(territory):
        return None
    licence = card.licences[0]
    return (
        f"TERRITORY={territory}: the licence of {card.title} ({licence.name}, {licence.url}) grants nothing there; "
        "neither the weights nor meshes made with them may be used. Models without that limit: TripoSG, Step1X-3D "
        "(main.py fetch-weights --variant triposg)"
    )


def warn_of_territory(card: Card, territory: str | None) -> None:
    """Logs where the licence grants nothing, unless TERRITORY says where the service is used."""
    if territory is None and card.territory_excluded:
        logger.warning(
            "%s: its licence leaves out %s; set TERRITORY to have such models refused",
            card.model_id,
            card.excluded_words,
        )


def licence_words(card: Card, territory: str | None) -> str:
    """The licence of the weights and, with TERRITORY, that it leaves that country in."""
    if territory is not None:
        return f"licence: {card.licences[0].name}, which leaves TERRITORY={territory} in"
    hint = "; set TERRITORY to have such models refused" if card.territory_excluded else ""
    return f"licence: {card.licence_notice}{hint}"


def check_present(path: Path, folder: Path = MODELS_FOLDER) -> None:
    """Checks that there is something at `path`.

    Raises:
        StartupError: there is nothing; the sentence names what lies in `folder`, and the setting to write.
    """
    if path.exists():
        return
    found = find_checkpoints(folder)
    if path.as_posix() in (*SHAPE_MODELS, *FOLDERS):
        there = f"it is a published model's name: main.py fetch-weights --variant {path} brings it, and says its path"
    elif not found:
        there = f"{folder}/ holds no checkpoint: fetch or mount one (main.py fetch-weights)"
    else:
        there = f"{folder}/ holds others: set " + " or ".join(f"MODEL_PATH={one.as_posix()}" for one in found)
    raise StartupError(f"MODEL_PATH={path.as_posix()}: there is no such file or folder; {there}")


def find_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in `folder` and in its folders: single files, and folders with a part per network."""
    files = [file for file in sorted(folder.glob("**/*")) if file.suffix in CHECKPOINTS and file.is_file()]
    found = {_checkpoint_of(file, folder) for file in files if not set(file.parts) & set(PARTS)}
    return sorted(found, key=lambda one: (_is_embedded(one), one.as_posix()))


def _checkpoint_of(file: Path, folder: Path) -> Path:
    """The published folder that `file` is one part of, or the file itself."""
    inside = file.relative_to(folder).parts
    has_index = len(inside) > 2 and (folder / inside[0] / "model_index.json").is_file()
    return folder / inside[0] if has_index else file


def _is_embedded(path: Path) -> bool:
    return path.name == "tiny.safetensors"


def residences_from(first: Residence, settings: Settings) -> Sequence[Residence]:
    """Those to try, one after the other: with MEMORY=auto all that take less of the device than `first`, too."""
    order: tuple[Residence, ...] = get_args(Residence)
    return order[order.index(first) :] if settings.memory == "auto" else (first,)


def open_beside(settings: Settings, device: torch.device, dtype: torch.dtype) -> LoadedModel:
    """The checkpoint once more beside the loaded one, in numbers of another type: on a GPU layer by layer.

    Raises:
        CheckpointError: it can't be used any more.
    """
    return models.open_model(
        settings.model_path,
        device=device,
        dtype=dtype,
        variant=settings.model_variant,
        residence="minimal" if device.type == "cuda" else "full",
    )


def open_where_it_fits(
    settings: Settings,
    device: torch.device,
    residences: Sequence[Residence],
    on_loaded: Callable[[float], None] | None,
) -> tuple[LoadedModel, Residence]:
    """The checkpoint in the first of `residences` that the device has room for.

    Raises:
        StartupError: it has room for none, or the checkpoint can't be used.
    """

    def open_in(residence: Residence) -> tuple[LoadedModel, Residence]:
        model = models.open_model(
            settings.model_path,
            device=device,
            dtype=dtype_of(settings, device),
            variant=settings.model_variant,
            residence=residence,
            on_loaded=on_loaded,
        )
        return model, residence

    forms = [
        (f"memory {one}" if place else None, partial(open_in, one)) for place, one in enumerate(residences)
    ]
    try:
        return first_that_fits(forms, lambda what: logger.warning("loading ran out of memory: %s", what))
    except shape_errors.CheckpointError as error:
        raise StartupError(str(error)) from error
    except shape_errors.GpuOutOfMemory as error:
        raise StartupError(f"{settings.model_path.name} does not fit the memory of {device}") from error


def reopen_where_it_fits(
    model: LoadedModel, settings: Settings, residences: Sequence[Residence]
) -> tuple[LoadedModel, Residence]:
    """The checkpoint of `model` in the first of `residences` that fits, after the weights of `model` are freed.

    Raises:
        StartupError: as `open_where_it_fits`.
    """
    for network in model.family.networks:
        network.to(NOWHERE)
    free_memory()
    return open_where_it_fits(settings, model.device, residences, None)
