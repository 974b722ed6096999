"""A network as a folder in the hub's layout, which `load_network` and the reference read alike."""

from pathlib import Path
from typing import Any

from safetensors.torch import save_model

from dust3r_sfm.network.checkpoint import CONFIG_NAME, WEIGHTS_NAME
from dust3r_sfm.network.config import NetworkConfig
from dust3r_sfm.network.network import Network
from dust3r_sfm.system.files import atomic_path, set_default_mode, write_json


def write_network(network: Network, folder: Path) -> None:
    """Write FOLDER/config.json and FOLDER/model.safetensors, each whole or not at all.

    Raises:
        OutputError: the disk is full or the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / WEIGHTS_NAME) as temporary:
        save_model(network, str(temporary))  # keeps one of the two names that a DPT head gives some tensors
        set_default_mode(temporary)
    write_json(folder / CONFIG_NAME, keywords_of(network.config))


def keywords_of(config: NetworkConfig) -> dict[str, Any]:
    """The published constructor's arguments for a configuration: what `config_from_keywords` reads."""
    keywords: dict[str, Any] = {
        "img_size": list(config.image_size),
        "patch_size": config.patch_size,
        "enc_embed_dim": config.encoder_width,
        "enc_depth": config.encoder_depth,
        "enc_num_heads": config.encoder_heads,
        "dec_embed_dim": config.decoder_width,
        "dec_depth": config.decoder_depth,
        "dec_num_heads": config.decoder_heads,
        "mlp_ratio": config.mlp_ratio,
        "pos_embed": f"RoPE{config.rope_base:g}",
        "head_type": config.head,
        "output_mode": f"pts3d+desc{config.descriptor_size}" if config.descriptor_size else "pts3d",
        "depth_mode": list(config.depth_mode),
        "conf_mode": list(config.confidence_mode),
    }
    if config.dpt_widths != NetworkConfig.dpt_widths:  # an argument that the published constructors lack
        keywords["dpt_widths"] = list(config.dpt_widths)
    if config.descriptor_confidence_mode is not None:
        keywords |= {"two_confs": True, "desc_conf_mode": list(config.descriptor_confidence_mode)}
    return keywords
