import dataclasses

import pytest
import torch

from dust3r_sfm.errors import InputError, WeightsError
from dust3r_sfm.network import CompletionNetwork, Network, NetworkConfig, NetworkPrediction, join, random_network
from dust3r_sfm.network.heads.dpt import DptHead

pytestmark = pytest.mark.usefixtures("without_gradients")


@pytest.fixture
def without_gradients():
    with torch.inference_mode():
        yield


def maps(prediction: NetworkPrediction) -> dict[str, torch.Tensor]:
    return {name: value for name, value in vars(prediction).items() if value is not None}


def assert_same(one: NetworkPrediction, other: NetworkPrediction) -> None:
    assert maps(one).keys() == maps(other).keys()
    for name, value in maps(one).items():
        torch.testing.assert_close(
            value, maps(other)[name], rtol=1e-4, atol=1e-5, msg=lambda text, n=name: f"{n}: {text}"
        )


@pytest.mark.parametrize(
    "config, num_entries, num_parameters",
    [
        (NetworkConfig(head="linear"), 877, 532_342_784),
        (NetworkConfig(head="dpt"), 1009, 571_171_208),
        (
            NetworkConfig(head="catmlp+dpt", descriptor_size=24, descriptor_confidence_mode=("exp", 0.0, float("inf"))),
            1017,
            688_638_856,
        ),
    ],
)
def test_the_published_sizes(config, num_entries, num_parameters):
    with torch.device("meta"):
        network = Network(config)
    assert len(network.state_dict()) == num_entries
    assert sum(parameter.numel() for parameter in network.parameters()) == num_parameters


def test_the_published_size_of_croco():
    with torch.device("meta"):
        network = CompletionNetwork(NetworkConfig(head="linear"))
    assert len(network.state_dict()) == 587
    assert sum(parameter.numel() for parameter in network.parameters()) == 417_918_720


def test_names_and_shapes_of_the_published_files():
    with torch.device("meta"):
        shapes = {name: tuple(value.shape) for name, value in Network(NetworkConfig()).state_dict().items()}
    head = "downstream_head2.dpt"
    golden = {
        "mask_token": (1, 1, 768),
        "patch_embed.proj.weight": (1024, 3, 16, 16),
        "enc_blocks.23.attn.qkv.weight": (3072, 1024),
        "enc_blocks.0.mlp.fc2.bias": (1024,),
        "enc_norm.bias": (1024,),
        "decoder_embed.weight": (768, 1024),
        "dec_blocks.0.norm_y.weight": (768,),
        "dec_blocks2.11.cross_attn.projk.weight": (768, 768),
        "dec_norm.weight": (768,),
        f"{head}.scratch.layer3_rn.weight": (256, 384, 3, 3),
        f"{head}.scratch.layer_rn.2.weight": (256, 384, 3, 3),
        f"{head}.scratch.refinenet4.resConfUnit1.conv2.bias": (256,),
        f"{head}.scratch.refinenet1.out_conv.weight": (256, 256, 1, 1),
        f"{head}.head.4.weight": (4, 128, 1, 1),
        f"{head}.act_postprocess.0.1.weight": (96, 96, 4, 4),
        f"{head}.act_postprocess.3.1.weight": (768, 768, 3, 3),
    }
    assert golden.items() <= shapes.items()


@pytest.mark.parametrize("name", ["linear_network", "dpt_network", "mast3r_network"])
def test_shapes_and_ranges(name, request, images):
    network = request.getfixturevalue(name)
    prediction = network(images(0, 2, 32, 48), images(1, 2, 48, 32))
    assert prediction.points1.shape == (2, 32, 48, 3) and prediction.confidence1.shape == (2, 32, 48)
    assert prediction.points2.shape == (2, 48, 32, 3) and prediction.confidence2.shape == (2, 48, 32)
    assert (prediction.confidence1 >= 1).all()
    if name == "mast3r_network":
        assert prediction.descriptors2.shape == (2, 48, 32, 24)
        torch.testing.assert_close(prediction.descriptors1.norm(dim=-1), torch.ones(2, 32, 48))
        assert (prediction.descriptor_confidence1 > 0).all()
    else:
        assert prediction.descriptors1 is None and prediction.descriptor_confidence2 is None


@pytest.mark.parametrize("name", ["linear_network", "mast3r_network"])
def test_encode_and_decode_are_the_forward_pass(name, request, images):
    network = request.getfixturevalue(name)
    one, two = images(0, 1, 48, 32), images(1, 1, 32, 64)
    assert_same(network.decode(network.encode(one), network.encode(two)), network(one, two))


def test_a_batch_of_both_directions_is_the_two_pairs(mast3r_network, images):
    one, two = (mast3r_network.encode(images(seed, 1, 32, 48)) for seed in (0, 1))
    both = mast3r_network.decode(join([one, two]), join([two, one]))
    for row, single in enumerate((mast3r_network.decode(one, two), mast3r_network.decode(two, one))):
        assert_same(NetworkPrediction(**{name: value[row : row + 1] for name, value in maps(both).items()}), single)
    assert not torch.allclose(both.points1[0], both.points1[1])


def test_what_one_image_decides_is_computed_once(dpt_network, images, monkeypatch):
    calls = []
    original = DptHead.skip
    monkeypatch.setattr(DptHead, "skip", lambda self, *args: calls.append(self) or original(self, *args))
    features = [dpt_network.encode(images(seed, 1, 32, 32)) for seed in range(3)]
    for i in range(3):
        for j in range(3):
            dpt_network.decode(features[i], features[j])
    assert len(calls) == 3 * 2


def test_parts_survive_select_and_join_and_can_be_dropped(dpt_network, images):
    features = dpt_network.encode(images(0, 3, 32, 32))
    before = dpt_network.decode(features.select([2, 0]), features.select([1, 1]))
    for view in (1, 2):
        dpt_network.part(features, view)
    chosen = join([features.select([2]), features.select([0])])
    assert set(chosen.parts) == {1, 2} and len(chosen) == 2
    assert_same(dpt_network.decode(chosen, features.select([1, 1])), before)
    assert_same(dpt_network.decode(chosen.without_parts(), features.select([1, 1])), before)


@pytest.mark.parametrize("name", ["linear_network", "dpt_network"])
def test_portraits_stored_transposed_equal_portraits(name, request, images):
    network = request.getfixturevalue(name)
    landscape, portrait = images(0, 1, 32, 48), images(1, 1, 48, 32)
    native = network(landscape, portrait), network(portrait, landscape)
    stored = torch.cat((landscape, portrait.mT))
    shapes = torch.tensor([[32, 48], [48, 32]])
    mixed = network(stored, stored.flip(0), shapes, shapes.flip(0))
    assert mixed.points1.shape == (2, 32, 48, 3)
    torch.testing.assert_close(mixed.points1[:1], native[0].points1, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(mixed.points2[:1].transpose(1, 2), native[0].points2, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(mixed.confidence1[1:].mT, native[1].confidence1, rtol=1e-4, atol=1e-5)
    portraits = network(portrait.mT, portrait.mT, shapes[1:], shapes[1:])
    torch.testing.assert_close(
        portraits.points2.transpose(1, 2), network(portrait, portrait).points2, rtol=1e-4, atol=1e-5
    )


def test_the_second_image_matters_to_the_first(linear_network, images):
    one = images(0, 1, 32, 32)
    changed = linear_network(one, images(1, 1, 32, 32)).points1, linear_network(one, images(2, 1, 32, 32)).points1
    assert not torch.allclose(*changed)


def test_bfloat16_is_close_and_features_may_be_stored_in_half_precision(mast3r_network, images):
    one, two = images(0, 1, 32, 48), images(1, 1, 32, 48)
    exact = mast3r_network(one, two)
    with torch.autocast("cpu", torch.bfloat16):
        fast = mast3r_network(one, two)
    halves = [
        dataclasses.replace(features, tokens=features.tokens.half(), parts={})
        for features in (mast3r_network.encode(one), mast3r_network.encode(two))
    ]
    for other in (fast, mast3r_network.decode(*halves)):
        for name, value in maps(other).items():
            assert value.dtype == torch.float32
            assert (value - maps(exact)[name]).abs().mean() < 0.02 * maps(exact)[name].abs().mean(), name


@pytest.mark.parametrize("shape", [(40, 32), (32, 8), (0, 32)])
def test_sides_that_do_not_divide_into_patches_are_refused(linear_network, shape):
    with pytest.raises(InputError, match="multiples of 16"):
        linear_network.encode(torch.zeros(1, 3, *shape))


@pytest.mark.parametrize(
    "images_shape, true_shape", [((32, 48), [[32, 32]]), ((48, 32), [[32, 48]]), ((32, 48), [[32, 48]] * 2)]
)
def test_true_shapes_that_do_not_fit_are_refused(linear_network, images_shape, true_shape):
    with pytest.raises(InputError, match="true_shape"):
        linear_network.encode(torch.zeros(1, 3, *images_shape), torch.tensor(true_shape))


def test_batches_that_do_not_pair_are_refused(linear_network):
    one, two = (linear_network.encode(torch.zeros(count, 3, 32, 32)) for count in (1, 2))
    with pytest.raises(InputError, match="pairs"):
        linear_network.decode(one, two)
    with pytest.raises(InputError, match="share a batch"):
        join([one, linear_network.encode(torch.zeros(1, 3, 32, 48))])


def test_random_networks_repeat_and_leave_the_global_generator_alone(linear_config):
    state = torch.random.get_rng_state()
    one, two, other = (random_network(linear_config, seed).state_dict() for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(value, two[name]) for name, value in one.items())
    assert not torch.equal(one["mask_token"], other["mask_token"])
    assert one["enc_blocks.0.attn.qkv.bias"].count_nonzero() == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"encoder_width": 50},
        {"decoder_heads": 0},
        {"encoder_depth": 10**9},
        {"head": "dpt", "patch_size": 14},
        {"head": "dpt", "decoder_depth": 1},
        {"head": "catmlp+dpt"},
        {"head": "linear", "descriptor_size": 24},
    ],
)
def test_configurations_of_no_network_are_refused(wrong):
    with pytest.raises(WeightsError):
        NetworkConfig(**wrong)


@torch.inference_mode(False)
def test_gradients_reach_every_parameter_that_computes(images):
    network = random_network(
        NetworkConfig(
            encoder_width=16,
            encoder_depth=1,
            encoder_heads=1,
            decoder_width=16,
            decoder_depth=2,
            decoder_heads=1,
            dpt_widths=(16, 8, 12, 16, 24, 8),
        ),
        0,
    )
    with torch.enable_grad():
        prediction = network(images(0, 1, 32, 32).clone(), images(1, 1, 32, 32).clone())
        sum(
            value.log().mean() if "confidence" in name else value.mean() for name, value in maps(prediction).items()
        ).backward()
    without = {name for name, parameter in network.named_parameters() if parameter.grad is None}
    assert all(name == "mask_token" or "refinenet4.resConfUnit1" in name for name in without), without
