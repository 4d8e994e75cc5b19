"""Opens what the stages work with, as the settings say: models, remover, store, HTTP client."""

from __future__ import annotations

from collections.abc import Callable

from ai_engine.caller_meshes.limits import MeshLimits
from ai_engine.errors import StartupError
from ai_engine.images.background import MattingModelUnusable
from ai_engine.images.formats import DownloadLimits
from ai_engine.outbound.client import GuardedClient
from ai_engine.outbound.policies import download_policy
from ai_engine.pipeline.fake_model import FakeModel
from ai_engine.pipeline.lanes import Lane, Lanes
from ai_engine.pipeline.removers import open_removers
from ai_engine.pipeline.resources import Model, Resources
from ai_engine.settings import Settings
from ai_engine.slicing.slicer import Slicer
from ai_engine.storage.s3_store import check_bucket, open_store
from ai_engine.storage.store import LocalStore


def open_resources(settings: Settings, on_loaded: Callable[[float], None]) -> Resources:
    """What the stages work with, models loaded; `on_loaded` hears which share of the shape model, 0 to 1, is there.

    Raises:
        StartupError: a model, a device or the store of files can't be used.
    """
    LocalStore(settings.data_dir / "jobs").check()
    check_bucket(settings)
    try:
        removers = open_removers(
            settings.matting_model,
            settings.matting_home,
            refine=settings.matting_refine,
            num_threads=settings.matting_threads,
        )
    except MattingModelUnusable as error:
        raise StartupError(str(error)) from error
    models = _load_models(settings, on_loaded)
    return Resources(
        store=open_store(settings, is_worker=True),
        http=GuardedClient(
            download_policy(settings),
            connect_timeout_s=settings.download_connect_timeout_s,
            min_bytes_per_s=settings.download_min_bytes_per_s,
        ),
        removers=removers,
        model=next(iter(models.values())),
        models=models,
        download_limits=DownloadLimits(settings.image_max_bytes, settings.download_timeout_s),
        max_image_pixels=settings.image_max_pixels,
        mesh_limits=MeshLimits.of(settings),
        slicer=Slicer.of(settings),
        download_attempts=settings.download_attempts,
        lanes=Lanes(download=Lane(settings.downloads_in_flight, settings.downloads_per_owner)),
    )


def _load_models(settings: Settings, on_loaded: Callable[[float], None]) -> dict[str, Model]:
    """The shape models by their names, the default first."""
    planned, models = plan_models(settings), {}
    for done, (name, own) in enumerate(planned.items()):

        def on_share(share: float, done: int = done) -> None:
            on_loaded((done + share) / len(planned))

        models[name] = _load_model(own, on_share)
    return models


def plan_models(settings: Settings) -> dict[str, Settings]:
    """The settings that each shape model is loaded with, by name: where several do not fit the device together,
    MEMORY=auto lets them take turns there.

    Raises:
        StartupError: no such device, or a checkpoint can't be used.
    """
    planned = {place.name: settings.of_model(place) for place in settings.served_models}
    checkpoints = {name: one for name, one in planned.items() if not one.is_stand_in}
    if len(checkpoints) < 2:
        return planned
    from ai_engine.pipeline.checkpoint import check_checkpoint
    from ai_engine.pipeline.device import shared_memory

    for one in checkpoints.values():
        check_checkpoint(one)
    shares = zip(checkpoints.items(), shared_memory(list(checkpoints.values())), strict=True)
    return planned | {name: one.model_copy(update={"memory": memory}) for (name, one), memory in shares}


def _load_model(settings: Settings, on_loaded: Callable[[float], None]) -> Model:
    if settings.is_stand_in:
        return FakeModel(
            step_s=settings.stand_in_step_s,
            num_faces=settings.stand_in_faces,
            trouble=settings.stand_in_trouble,
        )
    # Seconds of imports that a worker with the stand-in does without.
    from ai_engine.pipeline.shape_model import ShapeModel

    return ShapeModel.load(settings, on_loaded).make_ready(settings)
