"""Everything that can go wrong on purpose in the shape model, drawn as one tree.

ShapeModelError
|- CheckpointError        the file is missing, damaged, of another model, or does not fit
|- ImageError             the picture can't be turned into model input
|  '- EmptyImage          nothing of it is visible
|- LatentShapeError       a latents tensor at the wrong stage of the line
|- SamplerUnfit           the model can't be sampled by the asked method
|- EmptyMesh              the field never crosses the level inside the box
|- NotFinite              a network gave numbers that are none
'- GpuOutOfMemory         not even the smallest call fits

A callback stops a call between two steps by an exception of its own, which passes through unchanged.
"""

from __future__ import annotations


class ShapeModelError(Exception):
    """Root of the tree; `code` is stable and may be shown to callers."""

    code = "shape_model_error"


class CheckpointError(ShapeModelError):
    """The weights file can't be used; the message names the file and the first facts that disagree."""

    code = "checkpoint_invalid"


class ImageError(ShapeModelError):
    """The picture can't be turned into model input."""

    code = "image_invalid"


class EmptyImage(ImageError):
    """Every pixel is transparent, or what is visible is thinner than two pixels."""

    code = "no_foreground"


class LatentShapeError(ShapeModelError):
    """A latents tensor has another width than this stage takes; the message names both widths."""

    code = "latent_shape"


class SamplerUnfit(ShapeModelError):
    """A distilled model was trained for few times of its own: no method between other times fits it."""

    code = "sampler_unfit"


class EmptyMesh(ShapeModelError):
    """The field has no surface at the asked level inside the box."""

    code = "empty_mesh"


class NotFinite(ShapeModelError):
    """Infinities or NaN where numbers should be: an overflow of half precision, or damaged weights."""

    code = "not_finite"


class GpuOutOfMemory(ShapeModelError):
    """The device has no room even for the smallest call."""

    code = "gpu_out_of_memory"
