"""The licences of what is in use: this project's code, the shape model, the background remover. A table of words."""

from __future__ import annotations

from ai_engine.job_queue.worker_leases import WorkerLease
from ai_engine.published_weights import APACHE, HUNYUAN_LICENCE, MATTING_MODELS, Licence
from ai_engine.service_view import LicenceFacts, Licences
from ai_engine.settings import MattingModel

PROJECT = Licence("Apache License 2.0", APACHE.url, (), must_accept=False)
"""Of the code, and of the models that were trained with it and come with it."""


def licences_in_use(worker: WorkerLease | None, matting_model: MattingModel) -> Licences:
    """What may be done with the code, and with the meshes that the models in use make.

    `shape_model` is None while no worker has said which one it has, `matting_model` where there is none.
    """
    is_known = worker is not None and worker.model_id is not None
    matting = None if matting_model == "none" else _told(matting_model, _of_matting(matting_model))
    shape = _shape_model(worker) if worker and is_known else None
    return Licences(code=_told("AI Engine", PROJECT), shape_model=shape, matting_model=matting)


def _shape_model(worker: WorkerLease) -> LicenceFacts:
    is_published = (worker.model_id or "").startswith("hunyuan3d")
    return _told(worker.model_id or "", HUNYUAN_LICENCE if is_published else PROJECT)


def _of_matting(name: MattingModel) -> Licence:
    return MATTING_MODELS[name].licence if name in MATTING_MODELS else PROJECT


def _told(name: str, licence: Licence) -> LicenceFacts:
    return LicenceFacts(name=name, licence=licence.name, url=licence.url, conditions=list(licence.conditions))
