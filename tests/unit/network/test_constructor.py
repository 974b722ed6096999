import math

import pytest

from dust3r_sfm.errors import WeightsError
from dust3r_sfm.network.config import config_from_keywords
from dust3r_sfm.network.constructor import parse_constructor

PUBLIC = (
    "AsymmetricMASt3R(pos_embed='RoPE100', patch_embed_cls='ManyAR_PatchEmbed', img_size=(512, 512), "
    "head_type='catmlp+dpt', output_mode='pts3d+desc24', depth_mode=('exp', -inf, inf), conf_mode=('exp', 1, inf), "
    "enc_embed_dim=1024, enc_depth=24, enc_num_heads=16, dec_embed_dim=768, dec_depth=12, dec_num_heads=12, "
    "two_confs=True, desc_conf_mode=('exp', 0, inf), landscape_only=True)"
)


def test_a_public_call_gives_its_network():
    config = config_from_keywords(*parse_constructor(PUBLIC, "file"), "file")
    assert (config.encoder_width, config.decoder_depth, config.rope_base) == (1024, 12, 100)
    assert config.head == "catmlp+dpt" and config.descriptor_size == 24
    assert config.descriptor_confidence_mode == ("exp", 0, math.inf)


def test_literals_of_every_kind():
    text = "C(a=-1.5, b=+2, c=[1, (2,)], d=None, e=True, f=-inf, g=float('-inf'), h='x', i=float('Infinity'))"
    name, keywords = parse_constructor(text, "file")
    assert name == "C"
    assert keywords == {
        "a": -1.5,
        "b": 2,
        "c": (1, (2,)),
        "d": None,
        "e": True,
        "f": -math.inf,
        "g": -math.inf,
        "h": "x",
        "i": math.inf,
    }


@pytest.mark.parametrize(
    "text",
    [
        "C(a=__import__('os').getcwd())",
        "C(a=open('x'))",
        "C(a=1 + 1)",
        "C(a=[i for i in ()])",
        "C(a=nan)",
        "C(a=-'x')",
        "C(1)",
        "C(**{})",
        "a.C(b=1)",
        "C",
        "C(a=1); D()",
        "C(a=1",
        "",
        "C(a=" + "(" * 3000 + ")" * 3000 + ")",
        "C(a=" + "-" * 9000 + "1)",
        "C(a='" + "x" * 20000 + "')",
        "C(a=\0)",
    ],
)
def test_everything_else_is_refused_in_a_sentence(text):
    with pytest.raises(WeightsError, match=r"^FILE ") as caught:
        parse_constructor(text, "FILE")
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "class_name, keywords, words",
    [
        ("VisionTransformer", {}, "VisionTransformer"),
        ("AsymmetricCroCo3DStereo", {"pos_embed": "RoPE100", "wings": 2, "tail": 1}, "wings, tail"),
        ("AsymmetricCroCo3DStereo", {}, "cosine"),
        ("AsymmetricCroCo3DStereo", {"pos_embed": "RoPE100", "head_type": "dpt2"}, "dpt2"),
        ("AsymmetricCroCo3DStereo", {"pos_embed": "RoPE100", "output_mode": "flow"}, "flow"),
        ("AsymmetricCroCo3DStereo", {"pos_embed": "RoPE100", "enc_depth": "deep"}, "wrong kind"),
        ("AsymmetricCroCo3DStereo", {"pos_embed": "RoPE100", "img_size": (1, 2, 3)}, "wrong kind"),
        ("AsymmetricCroCo3DStereo", {"pos_embed": "RoPE100", "conf_mode": ("tanh", 1, 2)}, "tanh"),
        ("AsymmetricCroCo3DStereo", {"pos_embed": "RoPE100", "depth_mode": ("exp", 0, 5)}, "unbounded"),
        ("AsymmetricCroCo3DStereo", {"pos_embed": "RoPE100", "norm_im2_in_dec": False}, "norm_im2_in_dec"),
        ("AsymmetricCroCo3DStereo", {"pos_embed": "RoPE100", "enc_num_heads": 10**9}, "encoder_heads"),
        ("AsymmetricCroCo3DStereo", {"pos_embed": "RoPE100", "mlp_ratio": float("inf")}, "mlp_ratio"),
    ],
)
def test_arguments_that_are_not_understood_are_named(class_name, keywords, words):
    with pytest.raises(WeightsError, match=words):
        config_from_keywords(class_name, keywords, "file")


def test_training_arguments_change_nothing_and_infinities_may_be_text():
    plain = {"pos_embed": "RoPE100", "enc_num_heads": 12}
    chatty = {
        **plain,
        "freeze": "encoder",
        "landscape_only": False,
        "patch_embed_cls": "PatchEmbedDust3R",
        "mask_ratio": 0.9,
        "depth_mode": ["exp", "-inf", "Infinity"],
        "conf_mode": ["exp", 1, "inf"],
    }
    one, other = (config_from_keywords("AsymmetricCroCo3DStereo", keywords, "file") for keywords in (plain, chatty))
    assert one == other and one.head == "linear"
