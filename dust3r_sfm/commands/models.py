"""What is done with a model that is there: refine, extend, densify, look, compare, tidy up."""

import contextlib
from pathlib import Path
from typing import Annotated, Literal

import tyro

from dust3r_sfm.commands.arguments import Out, Photos, Unnamed
from dust3r_sfm.options import ReconstructOptions, RefineCommand
from dust3r_sfm.system.terminal import Terminal

Flag = Annotated[bool, tyro.conf.FlagCreatePairsOff]


def refine(
    cameras: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="CAMERAS")],
    photos: Photos,
    out: Out,
    options: Annotated[RefineCommand, Unnamed],
) -> None:
    """Make the rough cameras of another program precise, in their frame and scale.

    Args:
        cameras: COLMAP model, transforms.json, poses.json, or a file of Bundler, VisualSFM, Metashape or Polycam.
        photos: Folder of photographs.
        out: Output folder.
        options: How photographs are read and cameras refined.
    """
    from dust3r_sfm.refine_cameras import refine_cameras

    print(refine_cameras(cameras, photos, out, options, progress=Terminal()))


def extend(
    model: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")],
    photos: Photos,
    out: Out,
    options: Annotated[ReconstructOptions, Unnamed],
    images: Path | None = None,
) -> None:
    """Register new photographs into an existing COLMAP model, which stays as it is to the last bit.

    What it does not read it refuses: what sets frame and scale (--no-upright, --georegister, --gps, --control-points,
    --scale-distance), --shard, and what selects pairs, apart from --num-retrieved.

    Args:
        model: COLMAP model, or the output folder of a run.
        photos: Folder of the new photographs.
        out: Output folder.
        options: Options of every stage; what is known speaks of the new photographs.
        images: Folder of the model's photographs, where it is not recorded beside the model.
    """
    from dust3r_sfm.extend import extend

    print(extend(model, photos, out, options, image_root=images, progress=Terminal()))


def densify(out: Out, patch_match: Flag = False) -> None:
    """Fuse the depth maps of a run to a dense cloud and mesh it: OUT/fused.ply and OUT/mesh.ply.

    Args:
        out: Output folder of a run.
        patch_match: Compute depth maps by COLMAP's patch-match stereo instead of fusing ours; needs CUDA.
    """
    from dust3r_sfm.dense.densify import densify

    print(densify(out, patch_match=patch_match, progress=Terminal()))


def splat(out: Out, run: Flag = False) -> None:
    """Say which splatting trainers are here, and what starts each on a run.

    Args:
        out: Output folder of a run.
        run: Start the first trainer that is installed.
    """
    from dust3r_sfm.splatting import run_trainer, trainers

    known = trainers(out)
    if run:
        run_trainer(known)
    else:
        print(*known, sep="\n")


def evaluate(
    model: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")],
    reference: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="REFERENCE")],
    all: Flag = False,
    json: Flag = False,
    protocol: Literal["model", "co3d"] = "model",
) -> None:
    """Compare the cameras of a model with a reference.

    Args:
        model: COLMAP model, or the output folder of a run.
        reference: COLMAP model, output folder, poses.json or transforms.json.
        all: Print all figures as a table.
        json: Print all figures as JSON.
        protocol: What is counted; co3d: RRA, RTA and mAA of the tables on CO3Dv2 and RealEstate10K.
    """
    from json import dumps

    from dust3r_sfm.evaluation.multiview import MultiviewErrors, evaluate_multiview
    from dust3r_sfm.evaluation.poses import evaluate_poses

    errors = evaluate_multiview(model, reference) if protocol == "co3d" else evaluate_poses(model, reference)
    if json:
        print(dumps(errors.rows(), indent=2))
    elif all or isinstance(errors, MultiviewErrors):
        print(errors)
    else:
        print(errors.sentence(), "all figures: --all or --json", sep="\n")


def clean(out: Out, dry_run: Flag = False) -> None:
    """Free the disk of what a finished run needs no more: its pointmaps and learned matches.

    Models, workspaces and the report stay, and the same command finds the run finished; other options compute again.

    Args:
        out: Output folder of a run.
        dry_run: Say what would go, and leave it.
    """
    from dust3r_sfm.runs.clean import clean

    sizes = clean(out, dry_run=dry_run)
    for path, size in sizes.items():
        print(f"{'would go' if dry_run else 'removed':<20}{path}, {size / 1e6:.1f} MB")
    print(f"{'in all':<20}{sum(sizes.values()) / 1e6:.1f} MB")


def view(out: Out, images: Path | None = None, host: str = "127.0.0.1", port: int = 8080) -> None:
    """Look at a model in a web browser: cameras, points, depth, confidence and pairs.

    Args:
        out: Output folder of a run, or the folder of a COLMAP model.
        images: Where the photographs are now, if they moved.
        host: Address to listen on; 0.0.0.0 lets other machines in.
        port: Port to listen on; the next free one is taken when it is in use.
    """
    from dust3r_sfm.viewing import open_viewer

    with contextlib.suppress(KeyboardInterrupt):
        server = open_viewer(out, host, port, images)
        port = server.get_port()
        print(f"open                http://localhost:{port}   (Ctrl-C ends it)")
        print(f"over ssh            ssh -L {port}:localhost:{port} THIS_MACHINE, then the same address", flush=True)
        server.sleep_forever()
