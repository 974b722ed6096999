import torch

from dust3r_sfm.network import CompletionNetwork
from dust3r_sfm.network.completion import completion_error, patch_targets


def test_hidden_patches_are_not_seen(linear_config, images):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = CompletionNetwork(linear_config).eval()
        network.initialize()
    hidden = torch.tensor([[True, False, True, True, False, True], [False, True, True, True, True, False]])
    one, two = images(0, 2, 32, 48), images(1, 2, 32, 48)
    changed = one.clone()
    changed[0, :, :16, :16] = 0
    visible = one.clone()
    visible[0, :, :16, 16:32] = 0
    with torch.inference_mode():
        painted = network(one, two, hidden)
        assert painted.shape == (2, 6, 768)
        torch.testing.assert_close(network(changed, two, hidden), painted)
        assert not torch.allclose(network(visible, two, hidden)[0], painted[0])


def test_targets_are_in_row_column_channel_order():
    image = torch.arange(3 * 32 * 48).reshape(1, 3, 32, 48).float()
    targets = patch_targets(image, 16)
    assert targets.shape == (1, 6, 768)
    row, column, channel = 3, 9, 2
    assert targets[0, 4, (row * 16 + column) * 3 + channel] == image[0, channel, 16 + row, 16 + column]


def test_only_hidden_patches_count():
    targets = torch.randn(1, 4, 12, generator=torch.Generator().manual_seed(0))
    patches = targets.clone()
    patches[0, 1] += 2
    hidden = torch.tensor([[False, True, False, True]])
    torch.testing.assert_close(completion_error(patches, targets, hidden, standardize=False), torch.tensor(2.0))
    assert completion_error(patches, targets, ~hidden, standardize=False) == 0
