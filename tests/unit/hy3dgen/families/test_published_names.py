"""Our names and the published ones, one by one."""

from __future__ import annotations

import pytest

from hy3dgen.families.published_names import dino_name, published_name, rename


@pytest.mark.parametrize(
    ("part", "ours", "theirs"),
    [
        ("model", "latent_in.weight", "model.latent_in.weight"),
        ("model", "context_in.bias", "model.cond_in.bias"),
        ("model", "double_blocks.3.latent.qkv.weight", "model.double_blocks.3.img_attn.qkv.weight"),
        ("model", "double_blocks.3.context.mlp_out.bias", "model.double_blocks.3.txt_mlp.2.bias"),
        ("model", "single_blocks.9.modulation.linear.bias", "model.single_blocks.9.modulation.lin.bias"),
        ("model", "final_modulation.linear.weight", "model.final_layer.adaLN_modulation.1.weight"),
        ("model", "final.weight", "model.final_layer.linear.weight"),
        ("vae", "blocks.0.attention.qkv.weight", "vae.transformer.resblocks.0.attn.c_qkv.weight"),
        ("vae", "geometry.head.bias", "vae.geo_decoder.output_proj.bias"),
        (
            "vae",
            "geometry.norm.q_norm.weight",
            "vae.geo_decoder.cross_attn_decoder.attn.attention.q_norm.weight",
        ),
        ("vae", "geometry.mlp.expand.weight", "vae.geo_decoder.cross_attn_decoder.mlp.c_fc.weight"),
    ],
)
def test_a_parameter_lies_under_its_published_name(part: str, ours: str, theirs: str) -> None:
    place = published_name(part, ours)
    assert (place.names, place.half) == ((theirs,), None)


def test_gate_and_value_of_a_swiglu_share_a_tensor() -> None:
    gate, value = (
        dino_name("enc.", f"dino.encoder.layer.0.mlp.{name}.weight") for name in ("gate_proj", "up_proj")
    )
    assert gate.name == value.name == "enc.encoder.layer.0.mlp.weights_in.weight"
    assert (gate.half, value.half) == (0, 1)


def test_registers_have_their_published_name() -> None:
    assert dino_name("enc.", "registers").name == "enc.embeddings.register_tokens"


def test_renames_are_applied_in_order_and_may_fan_out() -> None:
    renames = ((".a.", ".b."), (".b.", (".q.", ".k.")))
    assert rename("net.", renames, "a.weight").names == ("net.q.weight", "net.k.weight")
    assert rename("net.", renames, "c.weight").names == ("net.c.weight",)
