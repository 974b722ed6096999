"""The kernel gives PyTorch's answers: on a GPU, or in Triton's interpreter (TRITON_INTERPRET=1)."""

import os
import subprocess
import sys

import pytest
import torch

from dust3r_sfm.synthetic.generator.search import NEAREST_METRES, agree, search_objects

# Triton reads its variable when it is imported, and wraps functions that must not be wrapped before.
SCRIPT = """
import torch
from dust3r_sfm.synthetic.generator.fused import nearest_fused
from dust3r_sfm.synthetic.generator.search import NEAREST_METRES, agree
from dust3r_sfm.synthetic.generator.spans import TINY
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
assert agree(lambda *arguments: nearest_fused(*arguments, NEAREST_METRES, TINY), device)
"""


def test_the_kernel_agrees_with_pytorch():
    pytest.importorskip("triton", exc_type=ImportError)
    interpret = {} if torch.cuda.is_available() else {"TRITON_INTERPRET": "1"}
    subprocess.run([sys.executable, "-c", SCRIPT], check=True, env={**os.environ, **interpret})


def test_a_wrong_search_is_found_out():
    def shifted(*arguments):
        distance, index = search_objects(*arguments)
        return distance * 1.01, index

    cpu = torch.device("cpu")
    assert agree(search_objects, cpu)
    assert not agree(shifted, cpu)


def test_objects_behind_and_beside_are_not_met():
    frames = torch.zeros(1, 3, 3, 4)
    frames[..., :3] = torch.eye(3)
    frames[..., 3] = torch.tensor([0.0, 0.0, -5.0])  # rays start 5 units before each shape
    ahead, behind, beside = torch.tensor([[0.0, 0, 1], [0.0, 0, -1], [1.0, 0, 0]])
    for number, bounds in enumerate(((1, 1), (0, 1), (0, 0))):
        one = frames[:, number : number + 1]
        distance, _ = search_objects(one, torch.stack([ahead, behind, beside])[None], *bounds)
        assert distance[0].tolist() == pytest.approx([4.0, float("inf"), float("inf")])
        assert distance[0, 0] > NEAREST_METRES
