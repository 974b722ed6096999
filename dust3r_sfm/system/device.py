"""Which device networks run on."""

import torch

from dust3r_sfm.errors import PredictorError


def choose_device(name: str) -> torch.device:
    """The device that a name stands for; auto is the first of cuda, mps and cpu that this machine has.

    Raises:
        PredictorError: an unknown device, or one that this machine lacks.
    """
    available = {
        "cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "mps": int(torch.backends.mps.is_available()),
        "cpu": 1,
    }
    if name == "auto":
        return torch.device(next(kind for kind, count in available.items() if count))
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise PredictorError(f"There is no device '{name}'; use auto, cpu, cuda, cuda:1 or mps.") from error
    if (device.index or 0) >= available.get(device.type, 0):
        kinds = ", ".join(kind for kind, count in available.items() if count)
        raise PredictorError(f"PyTorch finds no device '{name}' on this machine, only {kinds}; use --device auto.")
    return device
