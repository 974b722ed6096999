"""One training step's forward pass, as a module that DDP can wrap."""

import torch
from torch import Tensor, nn

from dust3r_sfm.network.mini import MiniNetwork
from dust3r_sfm.network.network import NetworkPrediction
from dust3r_sfm.training.batch import Batch
from dust3r_sfm.training.kinds import AnyNetwork


class SymmetricForward(nn.Module):
    """Predicts a symmetric batch: each photograph is encoded once, although it takes part as both views.

    Args:
        network: the network that learns.
        amp: bfloat16 autocast.
    """

    def __init__(self, network: AnyNetwork, amp: bool = False) -> None:
        super().__init__()
        self.network, self.amp = network, amp

    def forward(self, images: Tensor, true_shape: Tensor) -> NetworkPrediction:
        """Predict pairs (0, 1), (1, 0), (2, 3), (3, 2), … of a batch in `Batch`'s order.

        Args:
            images: the first photographs of a symmetric batch (b, 3, h, w).
            true_shape: their (height, width).
        """
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.amp):
            if isinstance(self.network, MiniNetwork):
                return self.network.decode_symmetric(self.network.encode(images, true_shape))
            features = self.network.encode(images, true_shape)
            partners = [row ^ 1 for row in range(len(images))]
            return self.network.decode(features, features.select(partners))


def predict(forward: nn.Module, batch: Batch) -> NetworkPrediction:
    """The network's prediction of a batch."""
    prediction: NetworkPrediction = forward(batch.images1, batch.true_shape1)
    return prediction
