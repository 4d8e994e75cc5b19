"""The published weights this project can use: where each file lies, its size, its sha256, its licence.

A table, and the command line's choice from it: downloads nothing, reads nothing. A size or a sum stands here
only where two public records that do not depend on each other agreed on it; where it is None, the hub's own
record of the pinned revision is what a download is checked against.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from ai_engine.facts import ModelFacts, PartLicence

WEIGHTS_FILE = "model.fp16.safetensors"
DEFAULT_VARIANT = "v2-0"
DEFAULT_MATTING = "isnet-general-use"
NONE = "none"
REMBG_RELEASE = "https://github.com/danielgatis/rembg/releases/download/v0.0.0"


EU = frozenset(
    (
        *("AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU"),
        *("IE", "IT", "LT", "LU", "LV", "MT", "NL", "PL", "PT", "RO", "SE", "SI", "SK"),
    )
)
"""The countries of the European Union, as ISO 3166 codes."""


USUAL_CODES = {"UK": "GB", "EL": "GR"}
"""Country codes in use beside those of ISO 3166."""


def usual_territory(code: str | None) -> str | None:
    """A country code, or EU, in the form that licences are compared by; None for none.

    Raises:
        ValueError: it is not of two letters.
    """
    if not code:
        return None
    if not re.fullmatch("[A-Za-z]{2}", code):
        raise ValueError(f"{code}: must be a country code of two letters, or EU")
    return USUAL_CODES.get(code.upper(), code.upper())


@dataclass(frozen=True)
class Licence:
    """What one may do with a file. `must_accept`: nothing is downloaded before the operator has agreed.

    `territory_excluded` holds the country codes where it grants nothing.
    """

    name: str
    url: str
    conditions: tuple[str, ...]
    must_accept: bool
    territory_excluded: frozenset[str] = frozenset()
    seen_on: str = "2026-11-23"
    """When it was looked up."""

    def refusal(self, what: str, territory: str | None) -> str | None:
        """Why `what` may not be used in `territory`, a country code or EU; None where it may."""
        wanted = EU if territory == "EU" else {territory}
        if not self.territory_excluded & wanted:
            return None
        return (
            f"TERRITORY={territory}: the {self.name} grants nothing there, for {what} and for meshes made with it "
            f"({self.url}). Models without that limit: triposg, step1x-3d"
        )


@dataclass(frozen=True)
class HubOrigin:
    """A file in a repository of the Hugging Face hub, at one commit."""

    repo: str
    revision: str
    file: str


@dataclass(frozen=True)
class Weights:
    """One published file: `path` is seen from the models folder; `size_bytes` and `sha256` None if not known."""

    name: str
    path: str
    origin: HubOrigin | str
    """A place on the hub, or a URL."""
    licence: Licence
    size_bytes: int | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class WeightsFolder:
    """A published model in several files: `path` is the folder, seen from the models folder."""

    name: str
    path: str
    files: tuple[Weights, ...]


HUNYUAN_LICENCE = Licence(
    name="Tencent Hunyuan 3D 2.0 Community License",
    url="https://huggingface.co/tencent/Hunyuan3D-2/blob/9cd649ba6913f7a852e3286bad86bfa9a2d83dcf/LICENSE",
    conditions=(
        "It does not apply in the European Union, the United Kingdom and South Korea. There nobody may use the "
        "weights, and meshes made with them may not be used, shown or passed on there either.",
        "Whoever had more than 1 million monthly active users when the model came out needs a licence of their "
        "own from Tencent.",
        "Neither the weights nor the meshes may be used to improve another AI model.",
        "An acceptable use policy holds, for you and for whoever uses your service.",
        "Whoever passes the weights on passes on the licence and its notices, and says what was changed.",
    ),
    must_accept=True,
    territory_excluded=EU | {"GB", "KR"},
)
HUNYUAN_2_1_LICENCE = replace(
    HUNYUAN_LICENCE,
    name="Tencent Hunyuan 3D 2.1 Community License",
    url="https://huggingface.co/tencent/Hunyuan3D-2.1/blob/main/LICENSE",
)
APACHE = Licence(
    name="Apache License 2.0",
    url="https://www.apache.org/licenses/LICENSE-2.0",
    conditions=("Whoever passes the file on passes on the licence.",),
    must_accept=False,
)
MIT = Licence(
    name="MIT License",
    url="https://github.com/ZhengPeng7/BiRefNet/blob/main/LICENSE",
    conditions=("Whoever passes the file on passes on the licence.",),
    must_accept=False,
)


TRIPOSG_LICENCE = replace(MIT, url="https://huggingface.co/VAST-AI/TripoSG")
STEP1X_LICENCE = replace(APACHE, url="https://huggingface.co/stepfun-ai/Step1X-3D")

PROJECT = replace(APACHE, conditions=())
"""Of the code, and of the models that were trained with it and come with it."""
SLICER_LICENCE = Licence(
    name="GNU Affero General Public License 3.0",
    url="https://www.gnu.org/licenses/agpl-3.0.html",
    conditions=(
        "PrusaSlicer is a program of its own, which is run and never linked: its licence holds for it alone, not for "
        "this service's code, nor for meshes and G-code.",
        "Whoever passes the program on, or lets others use a changed one over a network, passes on its source.",
    ),
    must_accept=False,
    seen_on="2026-11-29",
)
UNKNOWN_LICENCE = Licence(
    name="unknown",
    url="",
    conditions=("These weights are of no published model that is known here: ask whom they came from.",),
    must_accept=False,
)
_LICENCES = MappingProxyType(
    {
        "Tencent Hunyuan 3D 2.0": HUNYUAN_LICENCE,
        "Tencent Hunyuan 3D 2.1": HUNYUAN_2_1_LICENCE,
        "Apache-2.0": APACHE,
        "MIT": TRIPOSG_LICENCE,
    }
)
"""By what the licence of a shape model's weights begins with, as a worker announces it."""

LICENCE_TEXTS = ("LICENSE", "NOTICE")


def _shape(
    variant: str, repo: str, revision: str, size_bytes: int | None = None, sha256: str | None = None
) -> Weights:
    path = f"hunyuan3d-dit-{variant}/{WEIGHTS_FILE}"
    return Weights(variant, path, HubOrigin(repo, revision, path), HUNYUAN_LICENCE, size_bytes, sha256)


def _matting(name: str, file: str, licence: Licence, size_bytes: int, sha256: str) -> Weights:
    return Weights(name, f"matting/{name}.onnx", f"{REMBG_RELEASE}/{file}", licence, size_bytes, sha256)


_V2 = ("tencent/Hunyuan3D-2", "9cd649ba6913f7a852e3286bad86bfa9a2d83dcf")
_MINI = ("tencent/Hunyuan3D-2mini", "f90a0f7df7d5e6f71109cf333f6a95a0ae3194a6")
_MULTI_VIEW = ("tencent/Hunyuan3D-2mv", "3a761b539b29fe4ff64714813aa9560fd66f5de0")

SHAPE_MODELS: Mapping[str, Weights] = MappingProxyType(
    {
        weights.name: weights
        for weights in (
            _shape(
                "v2-0",
                *_V2,
                4_928_151_562,
                "360bc281fc956d4acac0c3d36d5ec0ebf8cdddbf4b8892e894d12419388d479b",
            ),
            _shape("v2-0-fast", *_V2),
            _shape(
                "v2-0-turbo",
                *_V2,
                4_930_777_530,
                "5ee5a81e4df08a1c65b79910bf5b145a90376e526794f4607a4d5d068d62f269",
            ),
            _shape(
                "v2-mini",
                *_MINI,
                3_819_958_234,
                "3cc66f3bea33e4062b7dbc875ffe1d70c4888914aec3e91b60f94e9bd01b522b",
            ),
            _shape("v2-mini-fast", *_MINI),
            _shape(
                "v2-mini-turbo",
                *_MINI,
                3_822_584_202,
                "bdbcef30dd0149a281e17d5b5b1fdad1122c904e098a42f3100e04e03c247bc4",
            ),
            _shape(
                "v2-mv",
                *_MULTI_VIEW,
                4_928_151_562,
                "d36f5881bcdc56726b73e517cd444c13c60732431622da7268145355c8d38e9c",
            ),
            _shape("v2-mv-fast", *_MULTI_VIEW),
            _shape("v2-mv-turbo", *_MULTI_VIEW),
        )
    }
)


def _folder(
    name: str,
    path: str,
    origin: HubOrigin,
    licence: Licence,
    files: Mapping[str, tuple[int | None, str | None]],
) -> WeightsFolder:
    """The files of a repository's folder, `origin.file`, with what is known of each, and its licence texts."""
    places = {file: f"{origin.file}{file}" for file in files}
    return WeightsFolder(
        name,
        path,
        tuple(
            Weights(name, f"{path}/{file}", replace(origin, file=place), licence, *files[file])
            for file, place in places.items()
        ),
    )


_UNKNOWN = (None, None)

FOLDERS: Mapping[str, WeightsFolder] = MappingProxyType(
    {
        folder.name: folder
        for folder in (
            _folder(
                "v2-1",
                "hunyuan3d-dit-v2-1",
                # No record names a revision of 2.1: its size says whether it is the file that is known.
                HubOrigin("tencent/Hunyuan3D-2.1", "main", "hunyuan3d-dit-v2-1/"),
                HUNYUAN_2_1_LICENCE,
                {"model.fp16.ckpt": (7_366_389_768, None)},
            ),
            _folder(
                "triposg",
                "TripoSG",
                HubOrigin("VAST-AI/TripoSG", "2c1c516d22d58db486a058d98d31bb6177344e06", ""),
                TRIPOSG_LICENCE,
                {
                    "model_index.json": _UNKNOWN,
                    "feature_extractor_dinov2/preprocessor_config.json": _UNKNOWN,
                    "image_encoder_dinov2/config.json": _UNKNOWN,
                    "image_encoder_dinov2/model.safetensors": (
                        None,
                        "399fba97a95f22c36834418bc69373364a99af3a1153da1c0fb31db567c92e23",
                    ),
                    "scheduler/scheduler_config.json": _UNKNOWN,
                    "transformer/config.json": _UNKNOWN,
                    "transformer/diffusion_pytorch_model.safetensors": (
                        None,
                        "9192b5923f7b605b394192809aa2ceb73bf0f4009674d8e3b999b45bb97d4bf2",
                    ),
                    "vae/config.json": _UNKNOWN,
                    "vae/diffusion_pytorch_model.safetensors": (
                        None,
                        "a2e667c24927a5a35e5f19fcb4c75890e9399aa966b6db8131d7df733a750c8b",
                    ),
                },
            ),
            _folder(
                "step1x-3d",
                "Step1X-3D-Geometry-1300m",
                HubOrigin(
                    "stepfun-ai/Step1X-3D",
                    "bf7084495b3a72222f36549b7942948aa4d9daa7",
                    "Step1X-3D-Geometry-1300m/",
                ),
                STEP1X_LICENCE,
                {
                    "model_index.json": _UNKNOWN,
                    "scheduler/scheduler_config.json": _UNKNOWN,
                    "transformer/config.json": _UNKNOWN,
                    "transformer/diffusion_pytorch_model.safetensors": _UNKNOWN,
                    "vae/config.json": _UNKNOWN,
                    "vae/diffusion_pytorch_model.safetensors": _UNKNOWN,
                    "visual_encoder/config.json": _UNKNOWN,
                    "visual_encoder/diffusion_pytorch_model.safetensors": _UNKNOWN,
                },
            ),
        )
    }
)


def find_licence(notice: str) -> Licence:
    """The licence that a model's own notice begins with; the unknown one where none is called so."""
    return next((one for name, one in _LICENCES.items() if notice.startswith(name)), UNKNOWN_LICENCE)


def licence_texts(weights: Weights) -> tuple[Weights, ...]:
    """LICENSE and NOTICE of the repository that a file of the hub comes from, to lie in its model's own folder."""
    if not isinstance(weights.origin, HubOrigin):
        return ()
    folder = weights.path.partition("/")[0]
    return tuple(
        Weights(
            f"{weights.name} {text}",
            f"{folder}/{text}",
            replace(weights.origin, file=text),
            weights.licence,
        )
        for text in LICENCE_TEXTS
    )


MATTING_MODELS: Mapping[str, Weights] = MappingProxyType(
    {
        weights.name: weights
        for weights in (
            _matting(
                "isnet-general-use",
                "isnet-general-use.onnx",
                APACHE,
                178_648_008,
                "60920e99c45464f2ba57bee2ad08c919a52bbf852739e96947fbb4358c0d964a",
            ),
            _matting(
                "u2net",
                "u2net.onnx",
                APACHE,
                175_997_641,
                "8d10d2f3bb75ae3b6d527c77944fc5e7dcd94b29809d47a739a7a728a912b491",
            ),
            _matting(
                "birefnet-general",
                "BiRefNet-general-epoch_244.onnx",
                MIT,
                972_666_916,
                "58f621f00f5d756097615970a88a791584600dcf7c45b18a0a6267535a1ebd3c",
            ),
        )
    }
)


def matting_licence(name: str) -> Licence:
    """Of a background remover: of a published one, or of the embedded one."""
    return MATTING_MODELS[name].licence if name in MATTING_MODELS else PROJECT


def with_remover(card: ModelFacts, matting_model: str) -> ModelFacts:
    """The card of a model that gets its cut-outs from `matting_model`; unchanged for none."""
    if matting_model == NONE:
        return card
    licence = matting_licence(matting_model)
    part = PartLicence(f"background remover {matting_model}", licence.name, licence.url, licence.seen_on)
    return replace(card, licences=(*card.licences, part))


def add_choices(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `fetch-weights` to its command."""
    parser.add_argument(
        "--variant", choices=[*SHAPE_MODELS, *FOLDERS, NONE], default=DEFAULT_VARIANT, help="shape model"
    )
    parser.add_argument(
        "--matting", choices=[*MATTING_MODELS, NONE], default=DEFAULT_MATTING, help="background remover"
    )
    parser.add_argument("--models", type=Path, default=Path("models"), metavar="DIR", help="folder to fill")
    parser.add_argument(
        "--territory",
        metavar="CODE",
        type=usual_territory,
        help="country code, or EU: refuse what its licence leaves out (TERRITORY)",
    )
    parser.add_argument("--accept-licence", action="store_true", help="agree to the licences that are shown")
