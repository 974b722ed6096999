"""Colour jitter on the training device (kornia), each view by itself."""

from dataclasses import replace

import numpy as np
import torch

from dust3r_sfm.training.batch import Batch


def jitter(batch: Batch, strength: tuple[float, float, float, float], moment: tuple[int, ...]) -> Batch:
    """Change brightness, contrast, saturation and hue of every photograph of a symmetric batch.

    Args:
        batch: (a, b), (b, a), …; a photograph looks the same in both of its roles.
        strength: of brightness, contrast, saturation and hue; all 0 changes nothing.
        moment: what the draw follows from; the global generator is left as it was.
    """
    if not any(strength):
        return batch
    from kornia.augmentation import ColorJitter

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(np.random.SeedSequence(moment).generate_state(1, np.uint64)[0] >> 1))
        change = ColorJitter(*strength, p=1.0)
        images = change(batch.images1 / 2 + 0.5).clamp(0, 1) * 2 - 1
    partners = [row ^ 1 for row in range(len(images))]
    return replace(batch, images1=images, images2=images[partners])
