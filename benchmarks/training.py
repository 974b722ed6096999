"""Can the loop learn? A small network over-fits eight pairs of the rendered scene on a CPU.

python benchmarks/training.py [--steps 1500] [--json benchmarks/results/training.json]

Prints the mean relative point error (distance over distance from the camera, after the pair's scale) before and after;
the target is less than 3 %.
"""

import argparse
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from dust3r_sfm.files import write_json
from dust3r_sfm.images.load import load_pixels
from dust3r_sfm.network.config import NetworkConfig
from dust3r_sfm.network.weights import random_network
from dust3r_sfm.scene_file import read_scene
from dust3r_sfm.synthetic.sample import sample
from dust3r_sfm.training.batch import Batch, collate
from dust3r_sfm.training.losses import Regression
from dust3r_sfm.training.objective import SymmetricForward, predict
from dust3r_sfm.training.schedule import Schedule, parameter_groups
from dust3r_sfm.training.view import TrainingView, crop_view

SIZE = (128, 96)
CONFIG = NetworkConfig(
    image_size=(96, 128),
    encoder_width=192,
    encoder_depth=4,
    encoder_heads=6,
    decoder_width=192,
    decoder_depth=4,
    decoder_heads=6,
    head="linear",
)


def main() -> None:
    """Train and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()

    batch = eight_pairs()
    network = random_network(CONFIG, seed=0).requires_grad_(True).train()
    forward = SymmetricForward(network)
    optimizer = torch.optim.AdamW(parameter_groups(network, 0.0), betas=(0.9, 0.95))
    schedule = Schedule(peak=1e-3, floor=1e-6, warmup=0.05, epochs=1.0)
    before, started, spent = relative_error(forward, batch), time.perf_counter(), time.process_time()
    for step in range(arguments.steps):
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate(step / arguments.steps)
        loss, _ = Regression()(predict(forward, batch), batch.target)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if step % 100 == 0:
            print(f"step {step:5d}  loss {loss.item():.4f}", flush=True)
    result = {
        "pairs": 8,
        "steps": arguments.steps,
        "parameters": sum(value.numel() for value in network.parameters()),
        "relative_error_before": round(before, 4),
        "relative_error": round(relative_error(forward, batch), 4),
        "seconds": round(time.perf_counter() - started, 1),
        "cpu_seconds": round(time.process_time() - spent, 1),
    }
    print(json.dumps(result, indent=2))
    if arguments.json:
        write_json(arguments.json, result)


def eight_pairs() -> Batch:
    """Neighbours of the rendered scene, whose depth and cameras are exact, in both directions."""
    with tempfile.TemporaryDirectory() as folder:
        sample(Path(folder), num_views=9, size=(320, 240), seed=0)
        scene = read_scene(Path(folder) / "truth" / "scene.h5")
        views = [
            TrainingView(
                name=view.name,
                pixels=load_pixels(view),
                depth=scene.depths[index],
                intrinsics=scene.intrinsics[index],
                cam_from_world=scene.cam_from_world[index],
            )
            for index, view in enumerate(scene.views)
        ]
    cropped = [crop_view(view, SIZE, 0, np.random.default_rng(0)) for view in views]
    return collate([(cropped[row], cropped[row + 1]) for row in range(8)])


@torch.no_grad()
def relative_error(forward: SymmetricForward, batch: Batch) -> float:
    """Mean over the known points of the distance to the truth, over the truth's distance from the camera."""
    compared = replace(Regression(), keep_truth=False).compare(predict(forward, batch), batch.target)
    errors = []
    for predicted, truth, valid in (
        (compared.predicted1, compared.truth1, batch.target.valid1),
        (compared.predicted2, compared.truth2, batch.target.valid2),
    ):
        errors.append(((predicted - truth).norm(dim=-1) / truth.norm(dim=-1).clamp_min(1e-6))[valid])
    return float(torch.cat(errors).mean())


if __name__ == "__main__":
    main()
