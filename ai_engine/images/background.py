"""Picture to Cutout: the only door to rembg. Knows no tensors, no jobs and no network.

The background becomes transparent and stays so: nothing is laid on white here. Faint alpha is cleared, since
the shape model frames the object by every pixel that is not fully transparent.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ai_engine.errors import NoForeground, StartupError
from ai_engine.images.cutout import FAINT_ALPHA, Cutout
from ai_engine.images.cutout_facts import measure
from ai_engine.images.image_file import MAX_PIXELS, read_mask, read_picture
from ai_engine.images.masks import (
    Parts,
    is_trimmed,
    make_solid,
    refine,
    with_object_colours,
    without_haze,
    without_islands,
)
from ai_engine.settings import find_shipped

RemoveBackground = Literal["auto", "always", "never"]
Refinement = Literal["grabcut", "none"]

MIN_FOREGROUND_SHARE = 0.01
MIN_OWN_FOREGROUND_PX = 64 * 64
"""Of a caller's own cut-out, however wide its canvas."""
MIN_CLEAR_BORDER_SHARE = 0.5
NO_REMOVER = (
    "The picture is opaque and this service removes no backgrounds: send a picture with an alpha channel, or a mask; "
    "or remove_background=never, if the whole picture is the object."
)
MAX_PLAIN_SPREAD = 3
"""A picture whose channels vary by no more than this (of 255) shows nothing."""

"""The weights that come with the project."""

_NEUTRAL_GREY = (128, 128, 128, 255)


class MattingModelUnusable(StartupError):
    """The weights of the matting model are missing or damaged; the message names the file, for the operator."""


class Remover(Protocol):
    """Finds the object in a picture."""

    @property
    def model_name(self) -> str:
        """Of the matting model, as `MATTING_MODEL` names it."""

    def mask(self, picture: Image.Image) -> NDArray[np.uint8]:
        """The opacity of the object, uint8 [height, width], of an RGB picture."""
        ...


def cut_out(
    picture: bytes,
    *,
    remove: RemoveBackground,
    remover: Remover | None,
    mask: bytes | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Cutout:
    """The object in a picture file, everything else transparent.

    `mask` is the caller's own, a picture file, and takes the remover's place. `auto` leaves a picture with a useful
    alpha channel as it is, `never` every picture. A see-through object becomes solid in proportion.

    Raises:
        UnreadableImage: a file is no picture that can be read.
        ImageTooLarge: it has too many pixels.
        MaskUnusable: the mask has another shape than the picture, or shows nothing.
        NoForeground: it shows nothing, the object covers less than 1 % of it, or the picture is opaque and there is no
            remover.
    """
    image = read_picture(picture, max_pixels=max_pixels)
    rgba = np.array(image.convert("RGBA"))
    _check_shows_something(rgba)
    alpha, is_see_through = make_solid(rgba[:, :, 3])
    own = without_islands(without_haze(alpha))
    has_own_cutout = has_useful_alpha(own.mask)
    source, parts = "none", Parts(alpha)
    if mask is not None:
        own_mask = read_mask(mask, image.size, max_pixels=max_pixels)
        source, parts = "mask", without_islands(without_haze(own_mask))
    elif remover is not None and (remove == "always" or (remove == "auto" and not has_own_cutout)):
        source, parts = remover.model_name, without_islands(without_haze(remover.mask(_on_grey(image))))
    elif remover is None and remove != "never" and not has_own_cutout:
        raise NoForeground(NO_REMOVER)
    elif has_own_cutout:
        source, parts = "alpha", own
    if source not in ("none", "alpha"):
        rgba = with_object_colours(rgba, parts.mask)
    rgba[:, :, 3] = without_haze(np.minimum(alpha, parts.mask))
    cutout = _require_foreground(Cutout(rgba), is_own=has_own_cutout or mask is not None)
    facts = measure(cutout.alpha, source=source, num_parts=parts.num_kept, num_dropped=parts.num_dropped)
    if is_see_through and "soft" not in facts.warnings:
        facts = replace(facts, warnings=(*facts.warnings, "soft"))
    return replace(cutout, facts=facts)


def has_useful_alpha(alpha: NDArray[np.uint8]) -> bool:
    """True when the alpha channel [h, w] already separates an object from its surroundings.

    An object that was cut out stands free: at least half of the picture's border is transparent; or its picture was
    trimmed to it, so that it touches all four borders and leaves corners clear. The rounded corners of a
    screenshot, a watermark's veil or an opaque channel do not make a cut-out.
    """
    border = np.concatenate([alpha[0], alpha[-1], alpha[1:-1, 0], alpha[1:-1, -1]])
    return bool(np.mean(border <= FAINT_ALPHA) >= MIN_CLEAR_BORDER_SHARE) or is_trimmed(alpha > FAINT_ALPHA)


def _check_shows_something(rgba: NDArray[np.uint8]) -> None:
    if rgba[:, :, 3].max() <= FAINT_ALPHA:
        raise NoForeground("Every pixel of the picture is transparent.")
    is_seen = rgba[:, :, 3] > FAINT_ALPHA
    if is_seen.all() and np.ptp(rgba[:, :, :3], axis=(0, 1)).max() <= MAX_PLAIN_SPREAD:
        raise NoForeground("The whole picture has one colour.")


def _require_foreground(cutout: Cutout, *, is_own: bool) -> Cutout:
    """The cut-out, if enough of it shows: the model frames the object, so a caller's own may lie in a wide canvas."""
    share = cutout.foreground_share
    num_pixels = share * cutout.alpha.size
    if is_own and num_pixels >= MIN_OWN_FOREGROUND_PX:
        return cutout
    if share < MIN_FOREGROUND_SHARE:
        size = f"{share:.1%}" if not is_own else f"{num_pixels:,.0f} of {cutout.alpha.size:,} pixels"
        enough = f" or {MIN_OWN_FOREGROUND_PX:,} pixels" if is_own else ""
        raise NoForeground(
            f"The object covers {size} of the picture; at least {MIN_FOREGROUND_SHARE:.0%}{enough} is needed."
        )
    return cutout


def _on_grey(image: Image.Image) -> Image.Image:
    """The picture as the remover sees it; what is hidden under alpha 0 must not reach it."""
    if image.mode == "RGB":
        return image
    return Image.alpha_composite(Image.new("RGBA", image.size, _NEUTRAL_GREY), image).convert("RGB")


@dataclass(frozen=True)
class _Weights:
    """How rembg names a model, and the file it needs, seen from the folder of the published ones."""

    session: str
    file: str


MATTING_MODELS = {
    "tiny": _Weights("u2net_custom", "../tiny/matting.onnx"),
    "isnet-general-use": _Weights("isnet-general-use", "isnet-general-use.onnx"),
    "u2net": _Weights("u2net", "u2net.onnx"),
    "birefnet-general": _Weights("birefnet-general", "birefnet-general.onnx"),
}
"""The models that may be used: each runs on this machine, and each has a name. rembg's own default is another
one under another licence, and some of its names send the picture to a third party."""


class BackgroundRemover:
    """One named matting model of rembg, loaded when it is first needed.

    With `refine="grabcut"` the embedded model's masks are refined; the others' edges are better than GrabCut's.
    `num_threads` 0 leaves their number to `OMP_NUM_THREADS`, or to onnxruntime: one per core.
    """

    def __init__(
        self, model_name: str, home: Path, *, refine: Refinement = "grabcut", num_threads: int = 0
    ) -> None:
        if model_name not in MATTING_MODELS:
            raise ValueError(f"no matting model {model_name!r}; there are {', '.join(MATTING_MODELS)}")
        self.model_name = model_name
        self.weights_path = _weights_path(model_name, home)
        self._is_refined = model_name == "tiny" and refine == "grabcut"
        self._num_threads = num_threads
        self._lock = threading.Lock()
        self._session: Any = None

    def mask(self, picture: Image.Image) -> NDArray[np.uint8]:
        """The opacity of the object, uint8 [height, width], of an RGB picture.

        Raises:
            MattingModelUnusable: the weights are missing or damaged.
        """
        self.load()
        if self._is_refined:
            return refine(np.asarray(picture), self._find)
        return self._find(np.asarray(picture))

    def _find(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        import rembg

        # A picture in which the model sees nothing at all makes rembg divide zero by zero.
        with np.errstate(divide="ignore", invalid="ignore"):
            found = rembg.remove(Image.fromarray(pixels), session=self._session, only_mask=True)
        return np.asarray(found.convert("L"))

    def load(self) -> None:
        """Loads the weights, once. Never downloads.

        Raises:
            MattingModelUnusable: the file is missing or is no such model; the message names it.
        """
        with self._lock:
            if self._session is None:
                self._session = self._open_session()

    def _open_session(self) -> Any:
        if not self.weights_path.is_file():
            raise MattingModelUnusable(
                f"matting model {self.model_name!r}: there is no file {self.weights_path}; "
                "`python main.py fetch-weights` brings published ones"
            )
        rembg = _import_rembg()
        try:
            with _rembg_home(self.weights_path.parent):
                session = MATTING_MODELS[self.model_name].session
                return rembg.new_session(
                    session,
                    sess_opts=_session_options(self._num_threads),
                    model_path=str(self.weights_path.absolute()),
                )
        except Exception as error:  # onnxruntime has a dozen errors of its own for a damaged file.
            raise MattingModelUnusable(
                f"matting model {self.model_name!r}: {self.weights_path} can't be loaded"
            ) from error


def _weights_path(model_name: str, home: Path) -> Path:
    """The model's file; the embedded model is found beside the code whatever `home` is."""
    path = Path(os.path.normpath(home / MATTING_MODELS[model_name].file))
    return find_shipped("models/tiny/matting.onnx") if model_name == "tiny" and not path.is_file() else path


def open_remover(
    model_name: str, home: Path, *, refine: Refinement = "grabcut", num_threads: int = 0
) -> BackgroundRemover | None:
    """The remover of that name; none for `none`."""
    if model_name == "none":
        return None
    return BackgroundRemover(model_name, home, refine=refine, num_threads=num_threads)


def _session_options(num_threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    return options


def _import_rembg() -> Any:
    """The package, imported so that it costs seconds and leaves nothing behind.

    Its onnxruntime writes a device id to disk unless told not to, and its alpha matting, which is not used
    here, would be compiled by numba for most of a minute, into a folder that must be writable.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import numba

    was_disabled = numba.config.DISABLE_JIT
    numba.config.DISABLE_JIT = True
    try:
        import rembg
    finally:
        numba.config.DISABLE_JIT = was_disabled
    return rembg


@contextmanager
def _rembg_home(folder: Path) -> Generator[None]:
    """Lets rembg find its weights in `folder` while a session is made: it reads the place from the environment."""
    before = os.environ.get("U2NET_HOME")
    os.environ["U2NET_HOME"] = str(folder.absolute())
    try:
        yield
    finally:
        if before is None:
            del os.environ["U2NET_HOME"]
        else:
            os.environ["U2NET_HOME"] = before
