"""Can the loop learn? A small network over-fits eight pairs of the rendered scene on a CPU.

    python benchmarks/training.py                   # a small network over-fits: 5 minutes on 2 cores
    python benchmarks/training.py --faithful        # the same with DUSt3R's own kind of network, which learns slower
    python benchmarks/training.py --generator       # how fast the synthetic world is made, and whether a loop waits
    python benchmarks/training.py --mini            # a short training of a small network 'mini' on that world
    python benchmarks/training.py --throughput mini --device cuda    # a preset: pairs/s, share of the matrix rate

The first prints the mean relative point error (distance over distance from the camera, after the pair's scale) before
and after; the target is less than 3 %. The others take a minute or two of one core; --steps makes --mini longer.
--result FILE keeps the figures: a row for each question.
"""

import argparse
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.common import about, read_rows, stamped, write_record
from benchmarks.training_speed import measure_generator, measure_steps
from dust3r_sfm.geometry.procrustes import similarity
from dust3r_sfm.geometry.transforms import rotation_angle
from dust3r_sfm.images.load import load_pixels
from dust3r_sfm.network.config import NetworkConfig
from dust3r_sfm.network.mini import MiniConfig, random_mini
from dust3r_sfm.network.weights import random_network
from dust3r_sfm.scene_file import read_scene
from dust3r_sfm.synthetic.sample import sample
from dust3r_sfm.training.batch import Batch, collate
from dust3r_sfm.training.datasets.world import World
from dust3r_sfm.training.kinds import AnyNetwork
from dust3r_sfm.training.losses import Regression
from dust3r_sfm.training.mini_loss import MiniLoss
from dust3r_sfm.training.objective import SymmetricForward, predict
from dust3r_sfm.training.presets import PRESETS
from dust3r_sfm.training.schedule import Schedule, parameter_groups
from dust3r_sfm.training.supply import supply
from dust3r_sfm.training.view import TrainingView, crop_view
from dust3r_sfm.types import Size

FAITHFUL_CONFIG = NetworkConfig(
    image_size=(96, 128),
    encoder_width=192,
    encoder_depth=4,
    encoder_heads=6,
    decoder_width=192,
    decoder_depth=4,
    decoder_heads=6,
    head="linear",
)

MINI_CONFIG = MiniConfig(
    encoder_width=128,
    encoder_depth=4,
    decoder_width=128,
    decoder_depth=4,
    head_channels=32,
    descriptor_size=32,
    head_width=32,
)


def main() -> None:
    """Train and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, help="default: 1000, with --mini 150")
    parser.add_argument("--result", type=Path)
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--generator", action="store_true")
    kind.add_argument("--faithful", action="store_true")
    kind.add_argument("--mini", action="store_true")
    kind.add_argument("--throughput", choices=[name for name, preset in PRESETS.items() if preset.validation_pairs])
    parser.add_argument("--device", default="cpu", help="of --throughput")
    parser.add_argument("--batch-size", type=int, help="of --throughput; default: the preset's")
    arguments = parser.parse_args()
    if arguments.generator:
        question, figures = "generator", measure_generator()
    elif arguments.mini:
        question, figures = "mini", train_mini(arguments.steps or 150)
    elif arguments.throughput:
        question, device = f"throughput of {arguments.throughput}", torch.device(arguments.device)
        figures = measure_steps(arguments.throughput, device, arguments.batch_size, arguments.steps or 20)
    else:
        question = "over-fit, faithful" if arguments.faithful else "over-fit"
        figures = over_fit(arguments.faithful, arguments.steps or 1000)
    print(json.dumps(figures, indent=2))
    if arguments.result:
        kept = [row for row in read_rows(arguments.result) if row["question"] != question]
        run = about(torch=torch.__version__, threads=torch.get_num_threads())
        write_record(arguments.result, [*kept, stamped({"question": question} | figures)], run)


def over_fit(faithful: bool, steps: int) -> dict[str, Any]:
    """Train on eight pairs with the paper's regression until they are known by heart."""
    network: AnyNetwork
    if faithful:
        network, size, peak = random_network(FAITHFUL_CONFIG, seed=0), (128, 96), 1e-3
    else:
        network, size, peak = random_mini(MINI_CONFIG, seed=0), (112, 112), 4e-3
    batch = eight_pairs(size)
    forward = SymmetricForward(network.requires_grad_(True).train())
    optimizer = torch.optim.AdamW(parameter_groups(network, 0.0), betas=(0.9, 0.95))
    schedule = Schedule(peak=peak, floor=1e-6, warmup=0.05, epochs=1.0)
    before, started, spent = relative_error(forward, batch), time.perf_counter(), time.process_time()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate(step / steps)
        loss, _ = Regression()(predict(forward, batch), batch.target)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if step % 100 == 0:
            print(f"step {step:5d}  loss {loss.item():.4f}", flush=True)
    return {
        "pairs": 8,
        "size": list(size),
        "steps": steps,
        "parameters": sum(value.numel() for value in network.parameters()),
        "relative_error_before": round(before, 4),
        "relative_error": round(relative_error(forward, batch), 4),
        "seconds": round(time.perf_counter() - started, 1),
        "cpu_seconds": round(time.process_time() - spent, 1),
    }


def eight_pairs(size: Size) -> Batch:
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
    cropped = [crop_view(view, size, 0, np.random.default_rng(0)) for view in views]
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


def train_mini(steps: int, size: Size = (96, 96), batch_size: int = 8) -> dict[str, Any]:
    """A network a tenth of the preset's size on fresh pairs; figures on scenes and textures it never saw."""
    torch.set_num_threads(1)
    world = World(sizes=(size,), batch_size=batch_size, pairs_per_epoch=steps * batch_size)
    unseen = replace(world, seed=10_000, pairs_per_epoch=64)
    network = random_mini(MINI_CONFIG, seed=0)
    forward, criterion = SymmetricForward(network), MiniLoss()
    optimizer = torch.optim.AdamW(parameter_groups(network, 0.03), betas=(0.9, 0.95))
    schedule = Schedule(peak=2e-3, floor=1e-5, warmup=0.05, epochs=1.0)
    before, spent = held_out(forward, unseen), time.process_time()
    for step, batch in enumerate(supply(world, 0, 0, num_workers=0)):
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate(step / steps)
        loss, details = criterion(predict(forward, batch), batch.target)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if step % 25 == 0:
            print(f"step {step:5d}  loss {loss.item():.4f}  matched {details['matched']:.3f}", flush=True)
    return {
        "parameters": sum(value.numel() for value in network.parameters()),
        "pairs": steps * batch_size,
        "cpu_seconds": round(time.process_time() - spent, 1),
        "before": before,
        "after": held_out(forward, unseen),
    }


@torch.no_grad()
def held_out(forward: SymmetricForward, unseen: World) -> dict[str, float]:
    """Depth error, rotation between the views and matched tokens on pairs that were not trained on."""
    depth, rotation, staying, matched = [], [], [], []
    for batch in supply(unseen, 0, 0, num_workers=0):
        prediction, target = predict(forward, batch), batch.target
        matched.append(MiniLoss()(prediction, target)[1]["matched"])
        for row in range(len(batch)):
            valid, other = target.valid1[row], target.valid2[row]
            ratio = prediction.points1[row, ..., 2][valid] / target.points1[row, ..., 2][valid]
            depth.append(float((ratio / ratio.median() - 1).abs().median()))
            if other.sum() < 100:
                continue
            # Points of view 2 in its own frame (the other direction's view 1), and in view 1's.
            confidence = prediction.confidence2[row][other].double().numpy()
            found = _rotation(prediction.points1[row ^ 1][other], prediction.points2[row][other], confidence)
            truth = _rotation(target.points1[row ^ 1][other], target.points2[row][other], None)
            rotation.append(float(rotation_angle(found.T @ truth)))
            staying.append(float(rotation_angle(truth)))
    return {
        "median_relative_depth_error": round(float(np.median(depth)), 4),
        "rotation_within_5_degrees": round(float(np.mean(np.array(rotation) <= 5)), 4),
        "rotation_within_15_degrees": round(float(np.mean(np.array(rotation) <= 15)), 4),
        "identity_within_5_degrees": round(float(np.mean(np.array(staying) <= 5)), 4),
        "identity_within_15_degrees": round(float(np.mean(np.array(staying) <= 15)), 4),
        "matched_tokens": round(float(np.mean(matched)), 4),
    }


def _rotation(source: torch.Tensor, target: torch.Tensor, weights: np.ndarray | None) -> np.ndarray:
    linear = similarity(source.double().numpy(), target.double().numpy(), weights)[:3, :3]
    return linear / np.cbrt(np.linalg.det(linear))


if __name__ == "__main__":
    main()
