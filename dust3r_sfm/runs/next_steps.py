"""What to type after a run: commands that work on this machine."""

import shlex
import shutil
from pathlib import Path


def next_steps(out: Path) -> list[str]:
    """Lines with the commands that make most of a finished model here: dense stereo where there is CUDA, looking."""
    from dust3r_sfm.system._pycolmap import pycolmap

    folder = shlex.quote(str(out))
    lines = []
    if shutil.which("colmap") and shutil.which("nvidia-smi"):
        dense = shlex.quote(str(out / "dense"))
        lines.append(f"dense stereo        colmap patch_match_stereo --workspace_path {dense}")
    elif pycolmap.has_cuda:
        lines.append(f"dense stereo        dust3r-sfm densify --patch-match {folder}")
    elif (out / "dense_pointmaps").is_dir():
        lines.append(f"cloud and mesh      dust3r-sfm densify {folder}")
    return [*lines, f"look                dust3r-sfm view {folder}"]
