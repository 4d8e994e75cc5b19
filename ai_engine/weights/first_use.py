"""Published weights on first use, by name (`--model triposg`, MODEL_PATH=triposg): size and licence, then the files.

With HF_HUB_OFFLINE set nothing is asked of the network. What TERRITORY is left out of is refused, there or not.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from ai_engine.errors import StartupError
from ai_engine.published_weights import FOLDERS, SHAPE_MODELS, Weights, licence_texts
from ai_engine.settings import Settings

MODELS = Path("models")
"""Where `fetch-weights` puts them too."""
BYTES_PER_GB = 1e9


class NotAgreed(StartupError):
    """A licence wants to be agreed to before the download, and nobody did."""

    exit_status = 2


@dataclass(frozen=True)
class Published:
    """A published model: what MODEL_PATH says of it, seen from the models folder, and its files."""

    name: str
    path: str
    files: Sequence[Weights]


def known_models() -> Mapping[str, Published]:
    """The published models by the names that `fetch-weights` has for them."""
    single = {name: Published(name, one.path, (one,)) for name, one in SHAPE_MODELS.items()}
    return single | {name: Published(name, one.path, one.files) for name, one in FOLDERS.items()}


def find_wished(model: str | None, settings: Settings) -> Published | None:
    """The published model that `--model`, or else MODEL_PATH, names; None where it names a model of the settings.

    Raises:
        ValueError: `--model` is neither.
    """
    if model is not None:
        served = [place.name for place in settings.served_models]
        if model not in served and model not in known_models():
            raise ValueError(f"--model {model}: known are {', '.join((*served, *known_models()))}")
        return None if model in served else known_models()[model]
    if settings.models is not None or settings.model_path.exists():
        return None
    return known_models().get(settings.model_path.as_posix())


def bring_weights(settings: Settings, *, accept_licence: bool) -> Settings:
    """The settings with the weights of the published model that MODEL_PATH names, which child processes find there too.

    Raises:
        StartupError: they can't be had, or may not be used here.
    """
    model = find_wished(None, settings)
    if model is None:
        return settings
    settings = with_weights(model, settings, accept_licence=accept_licence, may_ask=True)
    os.environ["MODEL_PATH"] = str(settings.model_path)
    os.environ.pop("MODEL_VARIANT", None)
    return settings


def with_weights(
    model: Published, settings: Settings, *, accept_licence: bool, may_ask: bool = False
) -> Settings:
    """The settings with `model` as the shape model, whose weights are there when this returns.

    Raises:
        StartupError: its licence leaves TERRITORY out, or its files can't be had.
        NotAgreed: its licence was not agreed to; at a terminal a person is asked, where `may_ask`.
    """
    from ai_engine.weights import fetch_weights

    refusal = fetch_weights.refused_by_territory(model.files, settings.territory)
    if refusal is not None:
        raise StartupError(refusal)
    missing = [one for one in model.files if not (MODELS / one.path).is_file()]
    if missing:
        with redirect_stdout(sys.stderr):
            _bring(model, missing, accept_licence=accept_licence, may_ask=may_ask)
    return settings.model_copy(
        update={"model_path": MODELS / model.path, "model_variant": None, "models": None}
    )


def _bring(model: Published, missing: Sequence[Weights], *, accept_licence: bool, may_ask: bool) -> None:
    from huggingface_hub import constants

    from ai_engine.weights import fetch_weights

    if constants.is_offline_mode():
        raise StartupError(
            f"the weights of {model.name} are not in {MODELS}/, and HF_HUB_OFFLINE is set: nothing is downloaded. "
            f"Set it to 0, or put them there: main.py fetch-weights --variant {model.name}"
        )
    fetch_weights.show_licences(model.files)
    try:
        print(f"{model.name}: {_size(missing)} to download into {MODELS / model.path}", flush=True)
        if not fetch_weights.is_agreed(missing, accept_licence=accept_licence, may_ask=may_ask):
            raise NotAgreed(
                f"nothing of {model.name} was downloaded; if you agree to its licence and may, add --accept-licence "
                "(in Python accept_licence=True)"
            )
        fetch_weights.fetch_all(missing, licence_texts(model.files[0]), MODELS)
    except fetch_weights.FetchFailed as failure:
        raise StartupError(str(failure)) from failure


def _size(missing: Sequence[Weights]) -> str:
    """How large the files are: as the table has it, else by the hub's word.

    Raises:
        FetchFailed: the hub can't be asked.
    """
    from ai_engine.weights.fetch_weights import locate

    sizes = [one.size_bytes or locate(one).seal.size_bytes for one in missing]
    known = sum(size or 0 for size in sizes)
    return f"{known / BYTES_PER_GB:.2f} GB" + (
        "" if all(sizes) else ", and files whose size the hub does not say"
    )
