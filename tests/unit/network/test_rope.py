import pytest
import torch

from dust3r_sfm.network.rope import rope_table, rotate

WIDTH = 16


def rotated(tokens: torch.Tensor, *position: int) -> torch.Tensor:
    return rotate(tokens, rope_table(torch.tensor([[position]]), WIDTH, 100.0))


@pytest.fixture
def token() -> torch.Tensor:
    return torch.randn(1, 1, 1, WIDTH, generator=torch.Generator().manual_seed(0))


def test_the_origin_is_left_alone(token):
    assert torch.equal(rotated(token, 0, 0), token)


def test_rotation_keeps_the_length(token):
    torch.testing.assert_close(rotated(token, 5, 31).norm(), token.norm())


def test_products_depend_on_the_offset_only(token):
    other = token.flip(-1)
    near = (rotated(token, 3, 4) * rotated(other, 1, 7)).sum()
    far = (rotated(token, 13, 24) * rotated(other, 11, 27)).sum()
    torch.testing.assert_close(near, far)
    assert not torch.isclose(near, (rotated(token, 3, 4) * rotated(other, 2, 7)).sum())


def test_rows_turn_the_first_half_and_columns_the_second(token):
    half = WIDTH // 2
    assert torch.equal(rotated(token, 7, 0)[..., half:], token[..., half:])
    assert torch.equal(rotated(token, 0, 7)[..., :half], token[..., :half])
    # The same rule in both halves.
    swapped = torch.cat((token[..., half:], token[..., :half]), -1)
    torch.testing.assert_close(rotated(token, 7, 0)[..., :half], rotated(swapped, 0, 7)[..., half:])


def test_channel_m_turns_with_channel_m_plus_half_by_the_stated_frequency():
    token = torch.zeros(1, 1, 1, WIDTH)
    token[..., 1] = 1
    turned = rotated(token, 3, 0).flatten()
    angle = torch.tensor(3 * 100 ** (-2 / 8))
    torch.testing.assert_close(turned[1], angle.cos())
    torch.testing.assert_close(turned[1 + 4], angle.sin())
    assert turned.count_nonzero() == 2


def test_sixteen_bit_tokens_turn_by_exact_angles(token):
    exact = rotated(token, 31, 30)
    assert rotated(token.bfloat16(), 31, 30).dtype == torch.bfloat16
    assert (rotated(token.bfloat16(), 31, 30) - exact).abs().max() < 0.02 * token.abs().max()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(rotated(token, 31, 30), exact)
