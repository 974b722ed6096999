import math

import pytest
import torch

from dust3r_sfm.network.config import NetworkConfig
from dust3r_sfm.network.heads.activations import activate_confidence, activate_descriptors, activate_points
from dust3r_sfm.network.heads.dpt import DptHead
from dust3r_sfm.network.heads.linear import LinearHead

UNBOUNDED = (-math.inf, math.inf)


def test_points_keep_their_direction_and_exponentiate_their_distance():
    raw = torch.tensor([[3.0, 0.0, 4.0], [0.0, 0.0, 0.0], [1e-4, 0.0, 0.0]])
    points = activate_points(raw, ("exp", *UNBOUNDED))
    torch.testing.assert_close(points[0], raw[0] / 5 * math.expm1(5))
    assert torch.equal(points[1], torch.zeros(3))
    torch.testing.assert_close(points[2], raw[2], rtol=1e-3, atol=0)
    torch.testing.assert_close(activate_points(raw, ("square", *UNBOUNDED))[0], raw[0] * 5)
    assert torch.equal(activate_points(raw, ("linear", *UNBOUNDED)), raw)


def test_a_point_at_the_origin_has_a_gradient():
    raw = torch.zeros(1, 3, requires_grad=True)
    activate_points(raw, ("exp", *UNBOUNDED)).sum().backward()
    assert raw.grad is not None and raw.grad.isfinite().all()


def test_confidence_stays_between_its_bounds():
    raw = torch.tensor([-100.0, 0.0, 2.0, 50.0])
    torch.testing.assert_close(activate_confidence(raw, ("exp", 1.0, math.inf))[:3], 1 + raw[:3].exp())
    assert activate_confidence(raw, ("exp", 1.0, 5.0)).tolist()[-1] == 5
    torch.testing.assert_close(activate_confidence(raw, ("sigmoid", 1.0, 3.0))[1:3], 1 + 2 * raw[1:3].sigmoid())


def test_descriptors_are_unit_and_never_nan():
    unit = activate_descriptors(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    torch.testing.assert_close(unit, torch.tensor([[0.6, 0.8], [0.0, 0.0]]))


def test_the_linear_head_lays_each_token_into_its_own_patch():
    head = LinearHead(1, 16)
    with torch.no_grad():
        head.proj.weight.zero_()
        head.proj.bias.copy_(torch.arange(1024))
        raw = head([torch.zeros(1, 6, 1)], (2, 3), None)
    assert raw.shape == (1, 4, 32, 48)
    channel, row, column = 2, 5, 7
    assert raw[0, channel, 16 + row, 32 + column] == channel * 256 + row * 16 + column


def narrow(depth: int) -> NetworkConfig:
    return NetworkConfig(
        encoder_width=8,
        encoder_heads=1,
        decoder_width=8,
        decoder_heads=1,
        decoder_depth=depth,
        dpt_widths=(16, 8, 12, 16, 24, 8),
    )


@pytest.mark.parametrize("grid", [(3, 5), (2, 2), (1, 4), (4, 3)])
def test_the_dpt_head_fills_any_token_grid(grid):
    head = DptHead(narrow(4))
    layers = [torch.randn(2, grid[0] * grid[1], 8) for _ in range(5)]
    with torch.inference_mode():
        raw = head(layers, grid, head.skip(layers[0], grid))
    assert raw.shape == (2, 4, 16 * grid[0], 16 * grid[1])


def test_the_dpt_head_reads_the_depths_it_should():
    head, grid = DptHead(narrow(12)), (2, 2)
    layers = [torch.randn(1, 4, 8, requires_grad=True) for _ in range(13)]
    head(layers, grid, head.skip(layers[0], grid)).sum().backward()
    assert [index for index, layer in enumerate(layers) if layer.grad is not None] == [0, 6, 9, 12]
