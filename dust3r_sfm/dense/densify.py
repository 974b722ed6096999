"""From the depth maps of a run to a dense cloud and a mesh: COLMAP's stereo fusion and Poisson reconstruction."""

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dust3r_sfm.dense.pointmaps import FOLDER
from dust3r_sfm.errors import InputError, ReconstructionError
from dust3r_sfm.system.files import atomic_path, noticing_a_full_disk
from dust3r_sfm.system.lock import locked
from dust3r_sfm.system.progress import Progress, Silent

_FINEST_LEVEL = 13
"""Depth of the octree beyond which Poisson reconstruction gains nothing; COLMAP's default."""

_TRIMMED_LEVELS = 1.0
"""The surface is cut where points are sparser than the usual spacing of the cloud by so many levels of the octree;
chosen by hand."""


@dataclass(frozen=True, kw_only=True)
class Dense:
    """What densification came to.

    Attributes:
        cloud: fused.ply, points with normals and colours; fused.ply.vis beside it says which images made each.
        mesh: mesh.ply.
        num_points: points in the cloud.
    """

    cloud: Path
    mesh: Path
    num_points: int

    def __str__(self) -> str:
        """The closing lines of the command."""
        return (
            f"points              {self.num_points}\ncloud               {self.cloud}\nmesh                {self.mesh}"
        )


def densify(out: Path, *, patch_match: bool = False, progress: Progress | None = None) -> Dense:
    """Fuse the depth maps of a run and mesh the cloud: OUT/fused.ply and OUT/mesh.ply.

    Args:
        out: output folder of a run, with `dense_pointmaps` (and `dense` for patch-match stereo).
        patch_match: compute depth maps by COLMAP's patch-match stereo in `dense` instead of fusing ours; needs CUDA.
            Depth maps that are there already are kept.
        progress: shows the stages.

    Raises:
        InputError: when the workspace is missing or damaged, or there is no CUDA for patch-match stereo.
        ReconstructionError: when no point is confirmed by enough images, or the cloud is too small for a mesh.
        OutputError: when the disk is full or the folder cannot be written.
    """
    from dust3r_sfm.system._pycolmap import pycolmap

    progress = progress or Silent()
    workspace = out / ("dense" if patch_match else FOLDER)
    if patch_match and not pycolmap.has_cuda:
        raise InputError(
            "Patch-match stereo needs CUDA, which this pycolmap lacks; install pycolmap-cuda12, or leave --patch-match "
            "out to fuse the pointmaps."
        )
    if not (workspace / "stereo" / "fusion.cfg").is_file() or not (workspace / "sparse").is_dir():
        raise InputError(
            f"{workspace} is no dense workspace; write it with python -m dust3r_sfm.export RUN {out} --colmap, "
            "or reconstruct again.",
            path=workspace,
        )
    with locked(out), _quiet(), _as_sentence(workspace):
        if patch_match:
            with progress.stage("stereo"):
                pycolmap.patch_match_stereo(str(workspace))
        with progress.stage("fuse"):
            num_points = _fuse(workspace, out)
        with progress.stage("mesh"):
            _mesh(out / "fused.ply", out / "mesh.ply", num_points)
    return Dense(cloud=out / "fused.ply", mesh=out / "mesh.ply", num_points=num_points)


def _fuse(workspace: Path, out: Path) -> int:
    """Write fused.ply and fused.ply.vis, and give the number of points."""
    from dust3r_sfm.system._pycolmap import pycolmap

    names = (workspace / "stereo" / "fusion.cfg").read_text(encoding="utf-8").splitlines()
    options = pycolmap.StereoFusionOptions()
    # COLMAP's five is more than a handful of photographs can agree on.
    options.min_num_pixels = min(options.min_num_pixels, max((len(names) + 1) // 2, 2))
    if (workspace / "masks").is_dir():
        options.mask_path = str(workspace / "masks")
    with _atomic_ply(out / "fused.ply") as temporary:
        fused = pycolmap.stereo_fusion(str(temporary), str(workspace), options=options, output_type="PLY")
        if fused.num_points3D() == 0:
            raise ReconstructionError(
                f"No point of {workspace} is confirmed by {options.min_num_pixels} images, so there is no dense cloud; "
                "add photographs between the present ones.",
                path=workspace,
            )
        _visibility(temporary).replace(_visibility(out / "fused.ply"))
    return int(fused.num_points3D())


def _mesh(cloud: Path, mesh: Path, num_points: int) -> None:
    """Reconstruct the surface on an octree as fine as the cloud is dense, cut where the cloud is sparse."""
    from dust3r_sfm.system._pycolmap import pycolmap

    spacing_level = math.log2(max(num_points, 4)) / 2
    options = pycolmap.PoissonMeshingOptions()
    options.depth = min(math.ceil(spacing_level) + 1, _FINEST_LEVEL)
    options.num_threads = 1  # its threads spin while they wait: hundreds of times slower on a busy machine
    options.trim = max(spacing_level - _TRIMMED_LEVELS, 0.0)
    with _atomic_ply(mesh) as temporary:
        pycolmap.poisson_meshing(str(cloud), str(temporary), options)
        if not temporary.is_file():
            raise ReconstructionError(f"{cloud} has too few points for a mesh; add photographs.", path=cloud)


@contextlib.contextmanager
def _atomic_ply(path: Path) -> Iterator[Path]:
    """`files.atomic_path` for COLMAP's writers, which insist on the extension .ply."""
    with atomic_path(path) as temporary, noticing_a_full_disk(path.parent):
        named = temporary.with_name(f"{temporary.name}.ply")
        try:
            yield named
            if named.is_file():
                named.replace(temporary)
        finally:
            named.unlink(missing_ok=True)
            _visibility(named).unlink(missing_ok=True)


def _visibility(cloud: Path) -> Path:
    """Where COLMAP writes which images made each point of a cloud."""
    return cloud.with_name(f"{cloud.name}.vis")


@contextlib.contextmanager
def _as_sentence(workspace: Path) -> Iterator[None]:
    """COLMAP's own exceptions name source lines; the workspace is what the user can mend."""
    try:
        yield
    except (RuntimeError, ValueError, IndexError) as error:
        raise InputError(
            f"COLMAP cannot use {workspace} ({_first_line(error)}); export it again.", path=workspace
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0].rpartition("] ")[2] if str(error) else type(error).__name__


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep COLMAP's log, and what its Poisson code prints on standard output, off the terminal."""
    from dust3r_sfm.system._pycolmap import pycolmap

    before = pycolmap.logging.minloglevel
    pycolmap.logging.minloglevel = int(pycolmap.logging.Level.ERROR)
    try:
        yield
    finally:
        pycolmap.logging.minloglevel = before
