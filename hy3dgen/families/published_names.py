"""Our parameter names -> the names published files use. Pure text: knows no tensors.

A published tensor may hold two of ours (the gate and the value matrix of a SwiGLU): `half` says which half of its
first axis.
"""

from __future__ import annotations

from dataclasses import replace

from hy3dgen.weights.assign import PublishedName

Renames = tuple[tuple[str, str | tuple[str, ...]], ...]
"""Pairs of a part of our names and what stands there in published files: several where they hold several tensors."""

CONDITIONER_PREFIX = "conditioner.main_image_encoder.model."

_DIT: Renames = (
    (".latent.modulation.linear.", ".img_mod.lin."),
    (".latent.qkv.", ".img_attn.qkv."),
    (".latent.norm.", ".img_attn.norm."),
    (".latent.proj.", ".img_attn.proj."),
    (".latent.mlp_in.", ".img_mlp.0."),
    (".latent.mlp_out.", ".img_mlp.2."),
    (".context.modulation.linear.", ".txt_mod.lin."),
    (".context.qkv.", ".txt_attn.qkv."),
    (".context.norm.", ".txt_attn.norm."),
    (".context.proj.", ".txt_attn.proj."),
    (".context.mlp_in.", ".txt_mlp.0."),
    (".context.mlp_out.", ".txt_mlp.2."),
    (".fused_in.", ".linear1."),
    (".fused_out.", ".linear2."),
    (".final_modulation.linear.", ".final_layer.adaLN_modulation.1."),
    (".modulation.linear.", ".modulation.lin."),
    (".final.", ".final_layer.linear."),
    (".context_in.", ".cond_in."),
)

VAE_NAMES: Renames = (
    (".blocks.", ".transformer.resblocks."),
    (".geometry.query_proj.", ".geo_decoder.query_proj."),
    (".geometry.latents_proj.", ".geo_decoder.latents_proj."),
    (".geometry.ln_post.", ".geo_decoder.ln_post."),
    (".geometry.head.", ".geo_decoder.output_proj."),
    (".geometry.to_query.", ".geometry.attn.c_q."),
    (".geometry.to_key_value.", ".geometry.attn.c_kv."),
    (".geometry.norm.", ".geometry.attn.attention."),
    (".geometry.proj.", ".geometry.attn.c_proj."),
    (".geometry.", ".geo_decoder.cross_attn_decoder."),
    (".attention.qkv.", ".attn.c_qkv."),
    (".attention.norm.", ".attn.attention."),
    (".attention.proj.", ".attn.c_proj."),
    (".mlp.expand.", ".mlp.c_fc."),
    (".mlp.contract.", ".mlp.c_proj."),
)

# The published files use the names of transformers 4; release 5 renamed the layers' insides.
_DINO: Renames = (
    (".attention.q_proj.", ".attention.attention.query."),
    (".attention.k_proj.", ".attention.attention.key."),
    (".attention.v_proj.", ".attention.attention.value."),
    (".attention.o_proj.", ".attention.output.dense."),
    (".mlp.gate_proj.", ".mlp.weights_in."),
    (".mlp.up_proj.", ".mlp.weights_in."),
    (".mlp.down_proj.", ".mlp.weights_out."),
)

_RENAMES: dict[str, Renames] = {"model": _DIT, "vae": VAE_NAMES}


def published_name(part: str, name: str) -> PublishedName:
    """The place of our parameter `name` of `part` (`model`, `vae` or `conditioner`), prefix included."""
    if part == "conditioner":
        return dino_name(CONDITIONER_PREFIX, name)
    return rename(f"{part}.", _RENAMES[part], name)


def dino_name(prefix: str, name: str) -> PublishedName:
    """The place of the picture encoder's parameter `name`, in files that put `prefix` before its names."""
    if name == "registers":
        return PublishedName(f"{prefix}embeddings.register_tokens")
    place = rename(prefix, _DINO, name.removeprefix("dino."))
    return replace(place, half={"gate_proj": 0, "up_proj": 1}.get(name.split(".")[-2]))


def rename(prefix: str, renames: Renames, name: str) -> PublishedName:
    """The place of our parameter `name`: `prefix`, then the name with every one of `renames` applied in order."""
    texts = [f".{name}"]
    for ours, theirs in renames:
        if isinstance(theirs, str):
            texts = [text.replace(ours, theirs) for text in texts]
        elif ours in texts[0]:
            texts = [texts[0].replace(ours, one) for one in theirs]
    first, *below = (prefix + text.removeprefix(".") for text in texts)
    return PublishedName(first, below=tuple(below))
