"""Inference of the Hunyuan3D-2 shape model: one picture in, one closed mesh out. Knows no jobs and no web."""
