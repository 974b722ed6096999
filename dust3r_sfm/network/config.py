"""What a network is made of, and how the published constructor arguments say it."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from dust3r_sfm.errors import WeightsError

HeadType = Literal["linear", "dpt", "catmlp+dpt"]
Mode = tuple[str, float, float]

CLASSES = ("AsymmetricCroCo3DStereo", "AsymmetricMASt3R", "CroCoNet")
_DPT_WIDTHS = (256, 96, 192, 384, 768, 128)
"""Channels: Ranftl et al. 2021, as the published files of DUSt3R and MASt3R have them."""
# Values that the public constructors give to the arguments a file leaves out (pos_embed has no usable default);
# dpt_widths, which they do not have, is our own argument for other DPT heads than theirs.
_REFERENCE_DEFAULTS: dict[str, Any] = {
    "img_size": 224,
    "patch_size": 16,
    "enc_embed_dim": 768,
    "enc_depth": 12,
    "enc_num_heads": 12,
    "dec_embed_dim": 512,
    "dec_depth": 8,
    "dec_num_heads": 16,
    "mlp_ratio": 4,
    "norm_im2_in_dec": True,
    "pos_embed": "cosine",
    "output_mode": "pts3d",
    "head_type": "linear",
    "depth_mode": ("exp", -math.inf, math.inf),
    "conf_mode": ("exp", 1, math.inf),
    "desc_mode": "norm",
    "desc_conf_mode": None,
    "two_confs": False,
    "dpt_widths": _DPT_WIDTHS,
}
# Arguments of training, and of how the reference stores portrait images: they change no value computed here.
_WITHOUT_EFFECT = ("mask_ratio", "freeze", "landscape_only", "patch_embed_cls")
# Far beyond any network, far below what would fill the memory of who builds it.
_LARGEST = {
    "patch_size": 256,
    "encoder_width": 16384,
    "encoder_depth": 256,
    "encoder_heads": 4096,
    "decoder_width": 16384,
    "decoder_depth": 256,
    "decoder_heads": 4096,
    "mlp_ratio": 64,
}


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """Sizes and output conventions of a network; the defaults are the published ViT-Large with the base decoder.

    Attributes:
        image_size: (height, width) the network was trained for; information only, any multiple of `patch_size` runs.
        patch_size: side of a token in pixels.
        encoder_width, encoder_depth, encoder_heads: the shared encoder.
        decoder_width, decoder_depth, decoder_heads: each of the two decoders.
        mlp_ratio: hidden width of the MLPs over their width.
        rope_base: base of the rotary position frequencies (100 in "RoPE100").
        head: which head turns tokens into maps.
        depth_mode: activation of the points: (exp, linear or square, -inf, inf).
        confidence_mode: activation of the confidence: (exp or sigmoid, smallest, largest).
        descriptor_size: channels of the matching descriptor; 0 without one.
        descriptor_confidence_mode: activation of the descriptors' own confidence; None where they share the points'.
        dpt_widths: channels of a DPT head: where its levels are fused, of its four levels (fine to coarse), and of its
            last map.
    """

    image_size: tuple[int, int] = (512, 512)
    patch_size: int = 16
    encoder_width: int = 1024
    encoder_depth: int = 24
    encoder_heads: int = 16
    decoder_width: int = 768
    decoder_depth: int = 12
    decoder_heads: int = 12
    mlp_ratio: float = 4.0
    rope_base: float = 100.0
    head: HeadType = "dpt"
    depth_mode: Mode = ("exp", -math.inf, math.inf)
    confidence_mode: Mode = ("exp", 1.0, math.inf)
    descriptor_size: int = 0
    descriptor_confidence_mode: Mode | None = None
    dpt_widths: tuple[int, ...] = _DPT_WIDTHS

    def __post_init__(self) -> None:
        for name, largest in _LARGEST.items():
            if not 0 < getattr(self, name) <= largest:
                raise WeightsError(
                    f"{name} is {getattr(self, name)}, which no network has; its configuration is damaged."
                )
        for part in ("encoder", "decoder"):
            width, heads = getattr(self, f"{part}_width"), getattr(self, f"{part}_heads")
            if width % (4 * heads):
                raise WeightsError(
                    f"The {part} width {width} does not divide into {heads} heads of a multiple of 4 channels."
                )
        if self.head != "linear" and self.patch_size != 16:
            raise WeightsError(
                f"A '{self.head}' head with {self.patch_size}-pixel patches is not a known network; 16 is."
            )
        if self.head != "linear" and self.decoder_depth < 2:
            raise WeightsError(f"A '{self.head}' head needs a decoder of at least 2 blocks.")
        if len(self.dpt_widths) != 6 or not all(0 < width <= _LARGEST["decoder_width"] for width in self.dpt_widths):
            raise WeightsError(f"DPT widths {self.dpt_widths} are not those of a network; it has six.")
        if self.descriptor_size not in (range(1, 4097) if self.head == "catmlp+dpt" else (0,)):
            raise WeightsError(
                f"A head '{self.head}' with {self.descriptor_size} descriptor channels is not a known network."
            )


def config_from_keywords(class_name: str, keywords: Mapping[str, Any], where: str) -> NetworkConfig:
    """Translate the arguments of a published constructor.

    Args:
        class_name: one of `CLASSES`.
        keywords: constructor arguments; left-out ones have the public defaults.
        where: the file, for messages.

    Raises:
        WeightsError: another class, unknown keywords (all named), or values this package does not compute.
    """
    if class_name not in CLASSES:
        raise WeightsError(
            f"{where} holds a '{class_name}', which is none of {', '.join(CLASSES)}; use another checkpoint."
        )
    unknown = [name for name in keywords if name not in _REFERENCE_DEFAULTS and name not in _WITHOUT_EFFECT]
    if unknown:
        raise WeightsError(
            f"{where} has arguments this package does not know ({', '.join(map(str, unknown))}), "
            "so it may be another architecture; remove them if they only concern training."
        )
    value = {**_REFERENCE_DEFAULTS, **keywords}
    try:
        return _translate(value, where)
    except (TypeError, ValueError, OverflowError) as error:
        raise WeightsError(
            f"{where} has an argument of the wrong kind ({error}); its configuration is damaged."
        ) from error


def _translate(value: dict[str, Any], where: str) -> NetworkConfig:
    rope = re.fullmatch(r"RoPE(\d+(?:\.\d+)?)", str(value["pos_embed"]))
    if rope is None:
        raise WeightsError(f"{where} has pos_embed '{value['pos_embed']}'; only RoPE networks are supported.")
    if not value["norm_im2_in_dec"]:
        raise WeightsError(
            f"{where} has norm_im2_in_dec False; only networks that normalize the second image are supported."
        )
    if value["head_type"] not in ("linear", "dpt", "catmlp+dpt"):
        raise WeightsError(f"{where} has head_type '{value['head_type']}'; linear, dpt and catmlp+dpt are supported.")
    output = re.fullmatch(r"pts3d(?:\+desc(\d+))?", str(value["output_mode"]))
    if output is None or value["desc_mode"] != "norm":
        raise WeightsError(
            f"{where} has output_mode '{value['output_mode']}' and desc_mode '{value['desc_mode']}'; "
            "pts3d and pts3d+descN with desc_mode norm are supported."
        )
    size = value["img_size"]
    height, width = (size, size) if isinstance(size, int) else size
    confidence = _mode(value["conf_mode"], "conf_mode", ("exp", "sigmoid"), where)
    own = value["conf_mode"] if value["desc_conf_mode"] is None else value["desc_conf_mode"]
    return NetworkConfig(
        image_size=(int(height), int(width)),
        patch_size=int(value["patch_size"]),
        encoder_width=int(value["enc_embed_dim"]),
        encoder_depth=int(value["enc_depth"]),
        encoder_heads=int(value["enc_num_heads"]),
        decoder_width=int(value["dec_embed_dim"]),
        decoder_depth=int(value["dec_depth"]),
        decoder_heads=int(value["dec_num_heads"]),
        mlp_ratio=float(value["mlp_ratio"]),
        rope_base=float(rope[1]),
        head=value["head_type"],
        depth_mode=_mode(value["depth_mode"], "depth_mode", ("exp", "linear", "square"), where),
        confidence_mode=confidence,
        descriptor_size=int(output[1] or 0),
        descriptor_confidence_mode=_mode(own, "desc_conf_mode", ("exp", "sigmoid"), where)
        if value["two_confs"]
        else None,
        dpt_widths=tuple(int(width) for width in value["dpt_widths"]),
    )


def _mode(value: Any, name: str, kinds: tuple[str, ...], where: str) -> Mode:
    kind, low, high = value
    if kind not in kinds:
        raise WeightsError(f"{where} has {name} '{kind}'; {', '.join(kinds)} are supported.")
    # JSON has no infinity: some writers put it between quotes.
    mode = (kind, float(low), float(high))
    if name == "depth_mode" and mode[1:] != (-math.inf, math.inf):
        raise WeightsError(f"{where} has {name} {value}; only the unbounded range (-inf, inf) is supported.")
    return mode
