"""The search for the nearest object as one Triton kernel: nothing but the answer touches the GPU's memory.

Import it only where Triton is. `search.search_objects` computes the same, and takes over where this fails.
"""

import torch
import triton
import triton.language as tl
from jaxtyping import Float32, Int64
from torch import Tensor

_BLOCK_RAYS = 256
"""Of one program on the GPU: chosen by hand."""


@triton.jit  # type: ignore[untyped-decorator]
def _kernel(  # type: ignore[no-untyped-def]
    frames,
    directions,
    distances,
    indices,
    num_rays,
    num_objects,
    first_ball,
    first_cylinder,
    nearest: tl.constexpr,
    tiny: tl.constexpr,
    block: tl.constexpr,
):
    ray = tl.program_id(0) * block + tl.arange(0, block)
    camera = tl.program_id(1)
    inside = ray < num_rays
    own = directions + (camera * num_rays + ray) * 3
    dx = tl.load(own, mask=inside, other=1.0)
    dy = tl.load(own + 1, mask=inside, other=1.0)
    dz = tl.load(own + 2, mask=inside, other=1.0)
    best = tl.full((block,), float("inf"), tl.float32)
    which = tl.zeros((block,), tl.int32)
    for number in range(0, num_objects):
        row = frames + (camera * num_objects + number) * 12
        hx = tl.load(row) * dx + tl.load(row + 1) * dy + tl.load(row + 2) * dz
        hy = tl.load(row + 4) * dx + tl.load(row + 5) * dy + tl.load(row + 6) * dz
        hz = tl.load(row + 8) * dx + tl.load(row + 9) * dy + tl.load(row + 10) * dz
        sx = tl.load(row + 3)
        sy = tl.load(row + 7)
        sz = tl.load(row + 11)
        # Slabs bound boxes on all axes, cylinders on the last; a quadric bounds balls, and cylinders across the others.
        is_box = number < first_ball
        is_ball = (number >= first_ball) & (number < first_cylinder)
        ix = 1.0 / (hx + tiny)
        iy = 1.0 / (hy + tiny)
        iz = 1.0 / (hz + tiny)
        low = -sz * iz - tl.abs(iz)
        high = tl.abs(iz) - sz * iz
        box_enter = tl.maximum(tl.maximum(-sx * ix - tl.abs(ix), -sy * iy - tl.abs(iy)), low)
        box_leave = tl.minimum(tl.minimum(tl.abs(ix) - sx * ix, tl.abs(iy) - sy * iy), high)
        along = tl.where(is_ball, 1.0, 0.0)
        a = hx * hx + hy * hy + along * hz * hz + tiny
        b = sx * hx + sy * hy + along * sz * hz
        c = sx * sx + sy * sy + along * sz * sz - 1.0
        root = tl.sqrt(tl.maximum(b * b - a * c, 0.0))
        enter = (-b - root) / a
        leave = (root - b) / a
        enter = tl.where(is_ball, enter, tl.maximum(enter, low))
        leave = tl.where(is_ball, leave, tl.minimum(leave, high))
        enter = tl.where(is_box, box_enter, enter)
        leave = tl.where(is_box, box_leave, leave)
        better = (enter < leave) & (enter > nearest) & (enter < best)
        best = tl.where(better, enter, best)
        which = tl.where(better, number, which)
    tl.store(distances + camera * num_rays + ray, best, mask=inside)
    tl.store(indices + camera * num_rays + ray, which.to(tl.int64), mask=inside)


def nearest_fused(
    frames: Float32[Tensor, "c k 3 4"],
    directions: Float32[Tensor, "c n 3"],
    first_ball: int,
    first_cylinder: int,
    nearest: float,
    tiny: float,
) -> tuple[Float32[Tensor, "c n"], Int64[Tensor, "c n"]]:
    """Distance to the nearest object (infinite without one) and its row.

    Args:
        frames: of each camera's objects, boxes, balls and cylinders in this order; the last column is the rays' start
            in the object's frame.
        directions: of the rays, in the world.
        first_ball, first_cylinder: where these begin.
        nearest: smallest distance that counts.
        tiny: what keeps a division finite.
    """
    frames, directions = frames.contiguous(), directions.contiguous()
    num_cameras, num_rays = directions.shape[:2]
    distances = directions.new_empty((num_cameras, num_rays))
    indices = torch.empty((num_cameras, num_rays), dtype=torch.int64, device=directions.device)
    # Triton launches on the thread's own device, which in a thread that makes batches is the first one.
    with torch.cuda.device_of(directions):  # type: ignore[no-untyped-call]
        _kernel[(triton.cdiv(num_rays, _BLOCK_RAYS), num_cameras)](
            frames,
            directions,
            distances,
            indices,
            num_rays,
            frames.shape[1],
            first_ball,
            first_cylinder,
            nearest=nearest,
            tiny=tiny,
            block=_BLOCK_RAYS,
        )
    return distances, indices
