"""Portrait photographs: passed as portrait tensors, or stored transposed so that they share a landscape batch."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dust3r_sfm.errors import InputError

Rows = slice | Tensor


def stored_transposed(
    images: Float[Tensor, "b 3 h w"], true_shape: Int[Tensor, "k 2"] | None, patch_size: int
) -> Bool[Tensor, " b"]:
    """Which samples are portrait photographs stored transposed in a landscape tensor (on the CPU).

    Args:
        images: the batch.
        true_shape: (height, width) of each photograph; None: as the tensor is.
        patch_size: both sides must be multiples of it.

    Raises:
        InputError: sides that are no multiples of the patch, or a true shape that the tensor cannot hold.
    """
    height, width = images.shape[-2:]
    if height % patch_size or width % patch_size or not images.numel():
        raise InputError(
            f"{len(images)} images of {width}x{height} pixels cannot be cut into {patch_size}-pixel patches; "
            f"resize or crop both sides to multiples of {patch_size}."
        )
    native = torch.zeros(len(images), dtype=torch.bool)
    if true_shape is None:
        return native
    if len(true_shape) != len(images):
        raise InputError(
            f"true_shape has {len(true_shape)} rows for {len(images)} images; give one (height, width) each."
        )
    shapes = true_shape.cpu()
    native = (shapes == torch.tensor([height, width])).all(1)
    swapped = (shapes == torch.tensor([width, height])).all(1) & (width > height)
    if not (native | swapped).all():
        wrong = tuple(shapes[~(native | swapped)][0].tolist())
        raise InputError(
            f"A true_shape of (height, width) = {wrong} does not fit a tensor of {(height, width)}; "
            "pass portrait images as portrait tensors, or transposed in landscape ones."
        )
    return swapped


def grid_positions(grid: tuple[int, int], transposed: Bool[Tensor, " b"], device: torch.device) -> Int[Tensor, "_ n 2"]:
    """Integer (row, column) of each token in its photograph's true orientation.

    Args:
        grid: rows and columns of the stored token grid.
        transposed: which samples are stored with swapped axes.
        device: where the result lives.

    Returns:
        positions, with a single row where the whole batch has the same.
    """
    rows, columns = (torch.arange(length, device=device) for length in grid)
    upright, turned = torch.cartesian_prod(rows, columns), torch.cartesian_prod(columns, rows)
    if not transposed.any():
        return upright[None]
    if transposed.all():
        return turned[None]
    return torch.where(transposed.to(device)[:, None, None], turned, upright)


def per_orientation(transposed: Bool[Tensor, " b"], function: Callable[[Rows, bool], Tensor]) -> Tensor:
    """Run `function(rows, are_transposed)` on the samples of each orientation and put the results in batch order.

    Results of both groups must have one shape, as tokens have, or maps whose axes are swapped back.
    """
    if not transposed.any():
        return function(slice(None), False)
    if transposed.all():
        return function(slice(None), True)
    native, swapped = (~transposed).nonzero()[:, 0], transposed.nonzero()[:, 0]
    results = torch.cat((function(native, False), function(swapped, True)))
    return results[torch.cat((native, swapped)).argsort()]
