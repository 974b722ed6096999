"""The reference aligner on our problems, where its package can be imported (no part of this project).

DUST3R_REFERENCE names a checkout of the reference package; it needs roma, einops and torchvision beside ours.
"""

import os
import sys
import time
from functools import wraps
from typing import Any

import numpy as np
import torch

from benchmarks import alignment_problems as problems
from benchmarks.common import RESULTS, Row, read_rows, stamped, write_record

KEPT = RESULTS / "alignment_reference.json"
"""Its figures, a row for each scene (kind/seed) and version: it takes 10 to 40 seconds for each."""
ITERATIONS = 300
RATE = 0.01
"""The published number of steps and learning rate."""


def available() -> bool:
    """Whether DUST3R_REFERENCE is set."""
    return "DUST3R_REFERENCE" in os.environ


def _package(mended: bool) -> Any:
    """Import the package; with `mended`, each image's first focal length comes from an edge of its own.

    As published, the spanning tree asks for the focal length of image i before it has looked up the edge (i, j), so
    that it gets that of the previous edge's first image. The mended function looks at its caller's i and j.
    """
    path = os.environ["DUST3R_REFERENCE"]
    if path not in sys.path:
        sys.path.insert(0, path)
    import dust3r.cloud_opt as package
    import dust3r.cloud_opt.init_im_poses as start

    published = getattr(start.estimate_focal, "__wrapped__", start.estimate_focal)

    @wraps(published)
    def own_focal(points: torch.Tensor) -> float:
        caller = sys._getframe(1).f_locals
        return float(published(caller["pred_i"][start.edge_str(caller["i"], caller["j"])]))

    start.estimate_focal = own_focal if mended else published
    return package


def optimizer(problem: dict[str, Any], mended: bool) -> Any:
    """Make its optimizer of a problem of the scene generator; the random start is seeded."""
    package = _package(mended)
    torch.manual_seed(0)
    first, second = zip(*problem["edges"], strict=True)
    return package.PointCloudOptimizer(
        {"idx": list(first)},
        {"idx": list(second)},
        {"pts3d": list(problem["X1"]), "conf": list(problem["C1"])},
        {"pts3d_in_other_view": list(problem["X2"]), "conf": list(problem["C2"])},
        verbose=False,
    )


def align(problem: dict[str, Any], mended: bool = True) -> dict[str, Any]:
    """Align in full: world_from_cam (n, 4, 4), focals (n,), world points, loss before and after, CPU seconds."""
    started = time.process_time()
    net = optimizer(problem, mended)
    before = float("nan")
    with torch.no_grad():
        net.compute_global_alignment(init="mst", niter=0)
        before = float(net())
    net.compute_global_alignment(init=None, niter=ITERATIONS, schedule="cosine", lr=RATE)
    seconds = time.process_time() - started
    with torch.no_grad():
        return {
            "world_from_cam": net.get_im_poses().numpy().astype(np.float64),
            "focals": net.get_focals().numpy().ravel().astype(np.float64),
            "points": [points.numpy() for points in net.get_pts3d()],
            "loss_start": before,
            "loss": float(net()),
            "seconds": seconds,
        }


def figures(problem: dict[str, Any], scene: str, mended: bool, anew: bool) -> dict[str, float] | None:
    """Errors, loss and seconds on a scene: those kept from an earlier run, or measured; None where neither can be."""
    version = "mended" if mended else "published"
    kept: dict[tuple[str, str], Row] = {(row["scene"], row["version"]): row for row in read_rows(KEPT)}
    if (anew or (scene, version) not in kept) and available():
        found = align(problem, mended)
        errors = problems.generator().evaluate(problem, found["world_from_cam"], found["focals"], found["points"])
        values = errors | {name: found[name] for name in ("loss", "loss_start", "seconds")}
        values = {name: float(f"{value:.5g}") for name, value in values.items()}
        kept[scene, version] = stamped({"scene": scene, "version": version} | values)
        write_record(KEPT, [kept[key] for key in sorted(kept)])
    row = kept.get((scene, version))
    return row and {name: value for name, value in row.items() if isinstance(value, float)}


def focal(points: np.ndarray) -> float:
    """Its focal length of a pointmap, from all pixels."""
    _package(mended=False)
    from dust3r.cloud_opt.init_im_poses import estimate_focal  # type: ignore[import-not-found]

    return float(estimate_focal(torch.from_numpy(points)))


def seconds(problem: dict[str, Any], steps: int = 5) -> float:
    """CPU seconds of the start and 300 steps, of which some are measured."""
    started = time.process_time()
    net = optimizer(problem, mended=True)
    net.compute_global_alignment(init="mst", niter=1, lr=RATE)
    begun = time.process_time()
    net.compute_global_alignment(init=None, niter=steps, lr=RATE)
    step = (time.process_time() - begun) / steps
    return begun - started + step * (ITERATIONS - 1)
