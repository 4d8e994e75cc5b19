"""The embedded remover on photographs nobody here made: `python -m training.evaluate_photographs`.

Reference is the mask of ISNet, a published model, whose folder `MATTING_HOME` names. The photographs come with
scikit-image and show one object that stands out. Prints IoU with and without refinement.
"""

from __future__ import annotations

import numpy as np
import skimage.data
from numpy.typing import NDArray
from PIL import Image

from ai_engine.images.background import BackgroundRemover
from ai_engine.images.cutout import FOREGROUND_ALPHA
from ai_engine.settings import Settings

PHOTOGRAPHS = ("chelsea", "coffee", "rocket", "astronaut", "motorcycle_left")


def photograph(name: str) -> NDArray[np.uint8]:
    """RGB [h, w, 3]."""
    if name == "motorcycle_left":
        return np.asarray(skimage.data.stereo_motorcycle()[0], np.uint8)
    return np.asarray(getattr(skimage.data, name)(), np.uint8)


def overlap(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """IoU of what is at least half opaque."""
    one, other = first >= FOREGROUND_ALPHA, second >= FOREGROUND_ALPHA
    return float((one & other).sum() / max((one | other).sum(), 1))


def main() -> None:
    """Prints one line a photograph, and the mean."""
    home = Settings().matting_home
    reference = BackgroundRemover("isnet-general-use", home)
    plain, refined = (BackgroundRemover("tiny", home, refine=way) for way in ("none", "grabcut"))
    found = []
    for name in PHOTOGRAPHS:
        picture = Image.fromarray(photograph(name))
        truth = reference.mask(picture)
        found.append((overlap(plain.mask(picture), truth), overlap(refined.mask(picture), truth)))
        print(f"{name:16s} plain {found[-1][0]:.3f}   refined {found[-1][1]:.3f}", flush=True)
    print("mean             plain {:.3f}   refined {:.3f}".format(*np.mean(found, axis=0)))


if __name__ == "__main__":
    main()
