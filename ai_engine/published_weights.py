"""The published weights this project can use: where each file lies, its size, its sha256, its licence.

A table, and the command line's choice from it: downloads nothing, reads nothing. A size or a sum stands here
only where two public records that do not depend on each other agreed on it; where it is None, the hub's own
record of the pinned revision is what a download is checked against.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

WEIGHTS_FILE = "model.fp16.safetensors"
DEFAULT_VARIANT = "v2-0"
DEFAULT_MATTING = "isnet-general-use"
NONE = "none"
REMBG_RELEASE = "https://github.com/danielgatis/rembg/releases/download/v0.0.0"


@dataclass(frozen=True)
class Licence:
    """What one may do with a file. `must_accept`: nothing is downloaded before the operator has agreed."""

    name: str
    url: str
    conditions: tuple[str, ...]
    must_accept: bool


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


def add_choices(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `fetch-weights` to its command."""
    parser.add_argument(
        "--variant", choices=[*SHAPE_MODELS, NONE], default=DEFAULT_VARIANT, help="shape model"
    )
    parser.add_argument(
        "--matting", choices=[*MATTING_MODELS, NONE], default=DEFAULT_MATTING, help="background remover"
    )
    parser.add_argument("--models", type=Path, default=Path("models"), metavar="DIR", help="folder to fill")
    parser.add_argument("--accept-licence", action="store_true", help="agree to the licences that are shown")
