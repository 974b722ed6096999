"""How much memory does a run need beside its network? 100 photographs, 300 pairs, predicted in a fresh process.

    python benchmarks/memory.py                   # a small network, 512x384: some minutes
    python benchmarks/memory.py --num-pairs 600   # as much: memory does not grow with the number of pairs
    python benchmarks/memory.py --max-encoded 16  # features wait on disk

The figure is the highest resident memory of the process (VmHWM) less what it had before the weights were loaded, less
the size of the weights. Writes benchmarks/results/memory.json (of fewer photographs or pairs: prints only).
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import tyro
from PIL import Image

from benchmarks.common import RESULTS, about, write_record
from dust3r_sfm.images.read import read_images
from dust3r_sfm.network import NetworkConfig, random_network
from dust3r_sfm.options import ImageOptions, PredictOptions
from dust3r_sfm.predictors.predictor import load_predictor
from dust3r_sfm.predictors.run import predict_pairs
from dust3r_sfm.types import PairGraph

LIMIT_MIB, NUM_IMAGES, NUM_PAIRS = 300, 100, 300
WIDTH, DEPTH, HEADS = 128, 3, 2


def save_network(path: Path, head: Literal["linear", "dpt"]) -> int:
    """Write a small checkpoint in the published format; return the bytes of its parameters."""
    config = NetworkConfig(
        encoder_width=WIDTH,
        encoder_depth=DEPTH,
        encoder_heads=HEADS,
        decoder_width=WIDTH,
        decoder_depth=DEPTH,
        decoder_heads=HEADS,
        head=head,
    )
    call = (
        f"AsymmetricCroCo3DStereo(pos_embed='RoPE100', img_size=(512, 512), head_type='{head}', output_mode='pts3d', "
        f"depth_mode=('exp', -inf, inf), conf_mode=('exp', 1, inf), enc_embed_dim={WIDTH}, enc_depth={DEPTH}, "
        f"enc_num_heads={HEADS}, dec_embed_dim={WIDTH}, dec_depth={DEPTH}, dec_num_heads={HEADS})"
    )
    network = random_network(config, 0)
    torch.save({"args": argparse.Namespace(model=call), "model": network.state_dict()}, path)
    return sum(parameter.nbytes for parameter in network.parameters())


def make_photographs(folder: Path, count: int) -> None:
    """Smooth noise, 1024x768."""
    folder.mkdir()
    for index in range(count):
        coarse = np.random.default_rng(index).integers(0, 256, (12, 16, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((1024, 768), Image.Resampling.BICUBIC).save(folder / f"{index:03d}.jpg")


def memory(kind: Literal["VmRSS", "VmHWM"]) -> float:
    """Resident memory of this process now, or at its highest, in MiB (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{kind}:")) / 1024


def predict(folder: Path, num_pairs: int, max_encoded: int) -> dict[str, float]:
    """Run the predictor, in this process, and say what memory it took."""
    torch.set_num_threads(1)
    options = PredictOptions(
        predictor="dust3r-512-dpt", weights=str(folder / "network.pth"), device="cpu", max_encoded=max_encoded
    )
    predictor = load_predictor(options, 0)
    images = read_images(folder / "photographs", ImageOptions(), predictor.grid)
    steps = range(1, len(images))
    pairs = [(k, (k + step) % len(images)) for step in steps for k in range(len(images))][:num_pairs]
    graph = PairGraph(num_images=len(images), edges=np.array(pairs), weights=np.ones(len(pairs)))
    warm = torch.randn(64, 64)
    _ = warm @ warm
    before = memory("VmRSS")
    store = predict_pairs(predictor, images, graph, folder / "predictions.h5", options)
    return {"before_mib": before, "peak_mib": memory("VmHWM"), "edges": len(store)}


def main(
    num_images: int = NUM_IMAGES,
    num_pairs: int = NUM_PAIRS,
    head: Literal["linear", "dpt"] = "linear",
    max_encoded: int = 200,
    child: Path | None = None,
    out: Path = RESULTS / "memory.json",
) -> None:
    """Measure and report.

    Args:
        num_images: photographs.
        num_pairs: pairs, each predicted in both directions.
        head: of the network.
        max_encoded: features kept in memory.
        child: measure here (the program calls itself with it).
        out: where the result goes.
    """
    if child is not None:
        print(json.dumps(predict(child, num_pairs, max_encoded)))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        network_mib = save_network(folder / "network.pth", head) / 2**20
        make_photographs(folder / "photographs", num_images)
        command = [sys.executable, __file__, "--child", name, "--num-pairs", str(num_pairs)]
        command += ["--max-encoded", str(max_encoded)]
        answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        measured = json.loads(answer.splitlines()[-1])
    above = measured["peak_mib"] - measured["before_mib"] - network_mib
    row = {
        "photographs": num_images,
        "network_mib": round(network_mib, 1),
        **{name: round(value, 1) for name, value in measured.items()},
        "above_network_mib": round(above, 1),
        "limit_mib": LIMIT_MIB,
    }
    print(json.dumps(row))
    print(f"{above:.0f} MiB above the network's own size; the limit is {LIMIT_MIB} MiB")
    if num_images >= NUM_IMAGES and num_pairs >= NUM_PAIRS:
        write_record(out, [row], about(threads=1, torch=torch.__version__))


if __name__ == "__main__":
    tyro.cli(main)
