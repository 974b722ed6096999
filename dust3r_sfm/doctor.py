"""What this machine and installation can do, for `dust3r-sfm doctor` and bug reports."""

import platform
import shutil
from importlib.metadata import PackageNotFoundError, version

from dust3r_sfm import __version__
from dust3r_sfm.system._pycolmap import pycolmap
from dust3r_sfm.system.parallel import num_cores

_PACKAGES = (
    "torch",
    "pycolmap",
    "numpy",
    "scipy",
    "kornia",
    "h5py",
    "pillow",
    "opencv-python",
    "opencv-python-headless",
)
_EXTRAS = {
    "huggingface_hub": "download of weights",
    "pillow-heif": "HEIC photographs",
    "viser": "viewer",
    "ray": "clusters",
}


def report() -> str:
    """Versions, devices, and which optional parts are there, as lines to read or to paste into a bug report."""
    lines = [f"dust3r_sfm {__version__}, Python {platform.python_version()}, {platform.platform()}"]
    lines += [f"{name:<24}{_version(name)}" for name in _PACKAGES]
    lines += [f"{name:<24}{_version(name)} ({purpose})" for name, purpose in _EXTRAS.items()]
    lines.append(f"{'CPU cores':<24}{num_cores()}")
    lines.append(f"{'devices':<24}{', '.join(_devices())}")
    lines.append(f"{'pycolmap with CUDA':<24}{'yes' if pycolmap.has_cuda else 'no: patch_match_stereo needs it'}")
    lines.append(
        f"{'colmap program':<24}{shutil.which('colmap') or 'not found (only needed for the commands after ours)'}"
    )
    lines.append(f"{'free disk here':<24}{shutil.disk_usage('.').free / 1e9:.0f} GB")
    return "\n".join(lines)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _devices() -> list[str]:
    import torch

    devices = ["cpu"]
    devices += [f"cuda:{index} {torch.cuda.get_device_name(index)}" for index in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        devices.append("mps")
    return devices
