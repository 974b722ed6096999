"""What does the order of calls cost? A complete graph of images, predicted in three orders side by side.

    python benchmarks/network.py                           # ViT-L/DPT, 5 images of 512x384: 11 minutes on 2 cores
    python benchmarks/network.py --pixels 192 144         # two minutes
    python benchmarks/network.py --device cuda             # also throughput against the GPU's matrix rate
    python benchmarks/network.py --batch 1                 # the same on a CPU, in both precisions

All orders are plain calls of our own network with random weights (time does not depend on them):

- every pair: both images of every directed pair are encoded, as the reference implementation does;
- pair once: both images of every unordered pair are encoded, and decoded in both directions;
- image once: every image is encoded, what it contributes alone to its pairs is computed once.

The targets: image once takes 1.85 times less than every pair, and 1.35 times less than pair once, at 512x384.
Where DUST3R_REFERENCE names a checkout of the reference package (no part of this project; it needs roma, einops,
huggingface_hub and torchvision), its own `inference` is timed too, on the same weights and images.
Writes benchmarks/results/network.json (at other sizes: prints only).
"""

import json
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from itertools import combinations, permutations
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import tyro
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.common import RESULTS, about, write_record
from benchmarks.matrix_rate import matrix_rate, synchronize
from dust3r_sfm.network import Network, NetworkConfig, join, random_network

CONFIGS = {
    "large": NetworkConfig(),
    "tiny": NetworkConfig(
        encoder_width=64, encoder_depth=2, encoder_heads=1, decoder_width=64, decoder_depth=12, decoder_heads=1
    ),
}
# Arithmetic of the reference's order of operations at 512x384: the yardstick for the share of the machine's rate.
LIMIT_TFLOP_PER_IMAGE, LIMIT_TFLOP_PER_EDGE = 0.523, 0.811
TARGETS = {"every pair": 1.85, "pair once": 1.35}
TARGET_SHARE, TARGET_EDGES_PER_SECOND = 0.6, 500
PRECISIONS = {
    "float32": (torch.float32, True),
    "bfloat16, heads in float32": (torch.bfloat16, True),
    "bfloat16": (torch.bfloat16, False),
}
"""Of the matrix products, and whether the heads stay in full precision."""


def every_pair(network: Network, images: Sequence[Tensor]) -> None:
    """Encode both images of every directed pair."""
    for i, j in permutations(range(len(images)), 2):
        network(images[i], images[j])


def pair_once(network: Network, images: Sequence[Tensor]) -> None:
    """Encode both images of every unordered pair, decode both directions."""
    for i, j in combinations(range(len(images)), 2):
        first, second = network.encode(images[i]), network.encode(images[j])
        network.decode(first, second)
        network.decode(second, first)


def image_once(network: Network, images: Sequence[Tensor]) -> None:
    """Encode every image, decode every directed pair."""
    features = [network.encode(image) for image in images]
    for i, j in permutations(range(len(images)), 2):
        network.decode(features[i], features[j])


def measure(run: Callable[[], object], device: str) -> dict[str, float]:
    """Wall seconds, and CPU seconds, which neighbours on a shared machine disturb less."""
    synchronize(torch.device(device))
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    synchronize(torch.device(device))
    return {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}


def count_encodings(network: nn.Module, run: Callable[[], object]) -> int:
    """Images that pass through the encoder."""
    count = 0

    def add(module: object, inputs: tuple[Tensor, ...]) -> None:
        nonlocal count
        count += len(inputs[0])

    handle = network.get_submodule("patch_embed").register_forward_pre_hook(add)
    run()
    handle.remove()
    return count


def arithmetic(config: NetworkConfig, width: int, height: int) -> dict[str, float]:
    """TFLOP of each step, counted on tensors without data."""
    with torch.device("meta"):
        network = Network(config).eval()
    image = torch.empty(1, 3, height, width, device="meta")

    def count(run: Callable[[], object]) -> float:
        with FlopCounterMode(display=False) as counter:
            run()
        return float(counter.get_total_flops()) / 1e12

    features = network.encode(image)
    return {
        "per_image": count(lambda: network.encode(image)),
        "per_image_as_both_views": count(lambda: [network.part(features, view) for view in (1, 2)]),
        "per_edge": count(lambda: network.decode(features, features)),
    }


def reference_package(path: str, network: Network, images: Sequence[Tensor]) -> tuple[Any, Callable[[], Any]]:
    """The reference's network with the weights of ours, and its own `inference` on the symmetric complete graph."""
    sys.path.insert(0, path)
    from dust3r.image_pairs import make_pairs  # type: ignore[import-not-found]
    from dust3r.inference import inference  # type: ignore[import-not-found]
    from dust3r.model import AsymmetricCroCo3DStereo  # type: ignore[import-not-found]

    config = network.config
    model = AsymmetricCroCo3DStereo(
        pos_embed=f"RoPE{config.rope_base:g}",
        img_size=tuple(images[0].shape[-2:]),
        head_type=config.head,
        output_mode="pts3d",
        depth_mode=("exp", -math.inf, math.inf),
        conf_mode=("exp", 1, math.inf),
        enc_embed_dim=config.encoder_width,
        enc_depth=config.encoder_depth,
        enc_num_heads=config.encoder_heads,
        dec_embed_dim=config.decoder_width,
        dec_depth=config.decoder_depth,
        dec_num_heads=config.decoder_heads,
        landscape_only=False,
        patch_embed_cls="PatchEmbedDust3R",
    )
    model.load_state_dict({name: value.contiguous() for name, value in network.state_dict().items()}, assign=True)
    device = images[0].device
    model.eval().to(device)
    views = [
        {"img": image, "true_shape": np.int32([image.shape[-2:]]), "idx": i, "instance": str(i)}
        for i, image in enumerate(images)
    ]
    pairs = make_pairs(views, scene_graph="complete", symmetrize=True)
    return model, lambda: inference(pairs, model, device, batch_size=1, verbose=False)


def measure_reference(path: str, network: Network, images: Sequence[Tensor], device: str) -> dict[str, float]:
    """Time the reference package, and say how far its points are from ours (mean relative difference)."""
    model, run = reference_package(path, network, images)
    result: dict[str, Any] = {}
    encodings = 0

    def counted() -> None:
        nonlocal encodings
        encodings = count_encodings(model, lambda: result.update(run()))

    seconds = measure(counted, device)
    first, second = (int(result[f"view{view}"]["idx"][0]) for view in (1, 2))
    theirs = result["pred2"]["pts3d_in_other_view"][0]
    ours = network(images[first], images[second]).points2[0].cpu()
    difference = float((ours - theirs).abs().mean() / theirs.abs().mean())
    return {**seconds, "encodings": encodings, "difference": difference}


def throughput(network: Network, images: Sequence[Tensor], batch: int, device: str, precision: str) -> dict[str, float]:
    """Images and directed edges a second without the store, and their share of what the matrix rate allows."""
    dtype, network.full_precision_heads = PRECISIONS[precision]
    rate = matrix_rate(torch.device(device), dtype)
    stack = torch.cat([images[k % len(images)] for k in range(batch)])
    # The limit is arithmetic at 512x384; other sizes have nearly the same share of it per pixel.
    scale = stack.shape[-1] * stack.shape[-2] / (512 * 384)
    with torch.autocast(device.split(":")[0], torch.bfloat16, enabled=dtype == torch.bfloat16):
        features = network.encode(stack)
        singles = [features.select([k]) for k in range(batch)]
        for single in singles:
            for view in (1, 2):
                network.part(single, view)
        first, second = join(singles), join(singles[1:] + singles[:1])
        network.decode(first, second)
        edges = 4 * batch / measure(lambda: [network.decode(first, second) for _ in range(4)], device)["seconds"]
        encoded = 4 * batch / measure(lambda: [network.encode(stack) for _ in range(4)], device)["seconds"]
    network.full_precision_heads = True
    return {
        "matrix_tflops": rate / 1e12,
        "images_per_second": encoded,
        "edges_per_second": edges,
        "share_encode": encoded * LIMIT_TFLOP_PER_IMAGE * scale * 1e12 / rate,
        "share_decode": edges * LIMIT_TFLOP_PER_EDGE * scale * 1e12 / rate,
    }


def report(result: dict[str, Any], num_images: int) -> None:
    """The figures beside their targets."""
    for name, ratio in result["ratios"].items():
        target = f", target {TARGETS[name]}" if name in TARGETS else ""
        print(
            f"{name:18s} {ratio['seconds']:5.2f} x the seconds of image once ({ratio['cpu_seconds']:.2f} x CPU){target}"
        )
    counted = {name: int(order["encodings"]) for name, order in result["orders"].items() if "encodings" in order}
    print(f"encodings          {counted}; {num_images} images")
    for precision, rates in result.get("throughput", {}).items():
        print(
            f"{precision:27s} {rates['images_per_second']:8.2f} images/s ({rates['share_encode']:.0%} of the limit), "
            f"{rates['edges_per_second']:8.2f} edges/s ({rates['share_decode']:.0%}); on CUDA the targets are "
            f"{TARGET_SHARE:.0%} and {TARGET_EDGES_PER_SECOND} edges/s"
        )


def main(
    size: Literal["large", "tiny"] = "large",
    num_images: int = 5,
    pixels: tuple[int, int] = (512, 384),
    device: str = "cpu",
    batch: int = 0,
    threads: int = 2,
    out: Path = RESULTS / "network.json",
) -> None:
    """Measure and report.

    Args:
        size: large is the published ViT-L with the DPT head.
        num_images: images of the complete graph.
        pixels: width and height of the images.
        device: cpu, cuda, …
        batch: also measure throughput with this many pairs at once (0: 16 on CUDA, not on others).
        threads: CPU threads.
        out: where the result goes.
    """
    torch.set_num_threads(threads)
    width, height = pixels
    network = random_network(CONFIGS[size], 0).eval().to(device)
    if device == "cpu":
        network.to(memory_format=torch.channels_last)  # as the predictors do
    generator = torch.Generator().manual_seed(0)
    images = [(torch.rand(1, 3, height, width, generator=generator) * 2 - 1).to(device) for _ in range(num_images)]
    orders: dict[str, Callable[[], object]] = {
        "every pair": lambda: every_pair(network, images),
        "pair once": lambda: pair_once(network, images),
        "image once": lambda: image_once(network, images),
    }
    result: dict[str, Any] = {
        "images": f"{num_images} x {width}x{height}",
        "tflop": arithmetic(CONFIGS[size], width, height),
        "orders": {},
    }
    with torch.inference_mode():
        network(images[0], images[1])  # the first call also pays for allocation and kernel choice
        for name, run in orders.items():
            encodings = 0

            def counted(run: Callable[[], object] = run) -> None:
                nonlocal encodings
                encodings = count_encodings(network, run)

            result["orders"][name] = {**measure(counted, device), "encodings": encodings}
            print(name, json.dumps(result["orders"][name]), flush=True)
        if path := os.environ.get("DUST3R_REFERENCE"):
            result["orders"]["reference package"] = measure_reference(path, network, images, device)
            print("reference package", json.dumps(result["orders"]["reference package"]), flush=True)
        if batch := batch or (16 if device.startswith("cuda") else 0):
            # Without instructions for it, convolutions in bfloat16 take minutes on a CPU.
            precisions = [name for name in PRECISIONS if name != "bfloat16" or device.startswith("cuda")]
            result["throughput"] = {name: throughput(network, images, batch, device, name) for name in precisions}
    best = result["orders"]["image once"]
    result["ratios"] = {
        name: {clock: order[clock] / best[clock] for clock in ("seconds", "cpu_seconds")}
        for name, order in result["orders"].items()
    }
    print(json.dumps(result, indent=2))
    report(result, num_images)
    if size == "large" and pixels == (512, 384):
        write_record(out, [result], about(threads=threads, device=device, torch=torch.__version__))


if __name__ == "__main__":
    tyro.cli(main)
