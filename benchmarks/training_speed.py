"""How fast is training? The synthetic world on one core, and the steps of a preset beside the rate of the machine."""

import time
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.matrix_rate import matrix_rate, synchronize
from dust3r_sfm.network.mini import MiniConfig, random_mini
from dust3r_sfm.training.batch import Batch
from dust3r_sfm.training.datasets.world import World
from dust3r_sfm.training.kinds import new_network
from dust3r_sfm.training.mini_loss import MiniLoss
from dust3r_sfm.training.objective import SymmetricForward, predict
from dust3r_sfm.training.presets import PRESETS
from dust3r_sfm.training.schedule import parameter_groups
from dust3r_sfm.training.supply import supply
from dust3r_sfm.types import Size


def measure_generator(size: Size = (112, 112), batch_size: int = 16, rounds: int = 4) -> dict[str, Any]:
    """Pairs per second of one core, and the share of its time that a loop on the same core waits for them."""
    torch.set_num_threads(1)
    world = World(sizes=(size,), batch_size=batch_size, pairs_per_epoch=100_000)
    world.batch(0, 0)
    spent = time.process_time()
    for number in range(rounds):
        world.batch(1, number)
    seconds = time.process_time() - spent
    network = random_mini(MiniConfig(), seed=0)
    forward, criterion = SymmetricForward(network), MiniLoss()
    optimizer = torch.optim.AdamW(parameter_groups(network, 0.03))
    batches, waiting, started = supply(world, 2, 0, num_workers=1), 0.0, time.perf_counter()
    for _ in range(rounds):
        asked = time.perf_counter()
        batch = next(batches)
        waiting += time.perf_counter() - asked
        criterion(predict(forward, batch), batch.target)[0].backward()
        optimizer.step()
        optimizer.zero_grad()
    share = waiting / (time.perf_counter() - started)
    batches.close()
    return {
        "size": list(size),
        "pairs_per_cpu_second": round(rounds * batch_size / seconds, 2),
        "waiting_share": round(share, 3),
    }


def measure_steps(preset_name: str, device: torch.device, batch_size: int | None, steps: int) -> dict[str, Any]:
    """Pairs a second of a preset's steps, its share of the matrix rate, and how long they wait for the world."""
    preset = PRESETS[preset_name]
    on_gpu, size = device.type == "cuda", preset.sizes[0]
    batch_size = batch_size or preset.batch_size
    world = World(sizes=(size,), batch_size=batch_size, pairs_per_epoch=10**7, device=device)
    network = new_network(preset.config, seed=0).to(device).requires_grad_(True).train()
    forward = SymmetricForward(network, amp=on_gpu)
    optimizer = torch.optim.AdamW(parameter_groups(network, preset.weight_decay))
    batch = world.batch(0, 0).to(device)
    with FlopCounterMode(display=False) as counter:
        predict(forward, batch)
    # Backward passes cost twice the forward pass.
    flop_per_pair = 3 * counter.get_total_flops() / batch_size
    if on_gpu:
        forward.compile()

    def learn(batch: Batch) -> None:
        preset.criterion(predict(forward, batch), batch.target)[0].backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    for _ in range(3):
        learn(batch)
    synchronize(device)
    started = time.perf_counter()
    for _ in range(steps):
        learn(batch)
    synchronize(device)
    alone = steps * batch_size / (time.perf_counter() - started)
    batches, waiting, started = supply(world, 1, 0, num_workers=4), 0.0, time.perf_counter()
    for _ in range(steps):
        asked = time.perf_counter()
        made = next(batches).to(device)
        waiting += time.perf_counter() - asked
        learn(made)
    synchronize(device)
    seconds = time.perf_counter() - started
    batches.close()
    rate = matrix_rate(device, torch.bfloat16 if on_gpu else torch.float32)
    return {
        "preset": preset_name,
        "device": torch.cuda.get_device_name(device) if on_gpu else str(device),
        "size": list(size),
        "batch_size": batch_size,
        "gflop_per_pair": round(flop_per_pair / 1e9, 2),
        "matrix_tflops": round(rate / 1e12, 3),
        "pairs_per_second_without_data": round(alone, 1),
        "share_of_matrix_rate": round(alone * flop_per_pair / rate, 3),
        "pairs_per_second": round(steps * batch_size / seconds, 1),
        "waiting_share": round(waiting / seconds, 3),
    }
