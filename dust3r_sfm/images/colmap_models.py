"""What other programs wrote: COLMAP models, and the image names in them."""

from pathlib import Path, PurePosixPath, PureWindowsPath

from dust3r_sfm.errors import InputError
from dust3r_sfm.system._pycolmap import Reconstruction

_MODEL_FILES = ("cameras", "images", "points3D")


def holds_model(folder: Path) -> bool:
    """Whether a folder itself holds a COLMAP model, binary or text."""
    return any(all((folder / f"{stem}{suffix}").is_file() for stem in _MODEL_FILES) for suffix in (".bin", ".txt"))


def find_model(folder: Path) -> Path | None:
    """The folder of a COLMAP model: `folder` itself, or sparse/0, sparse or 0 in it; None when there is none."""
    candidates = (folder, folder / "sparse" / "0", folder / "sparse", folder / "0")
    return next((candidate for candidate in candidates if holds_model(candidate)), None)


def read_model(folder: Path) -> Reconstruction:
    """Read a COLMAP model (binary or text) from its folder, or from a folder that holds it as sparse/0, sparse or 0.

    Raises:
        InputError: when there is no model, it cannot be read, or an image name leads out of the image folder.
    """
    reconstruction = model_in(folder)
    for image in reconstruction.images.values():
        refuse_unsafe_name(image.name, folder)
    return reconstruction


def model_in(folder: Path) -> Reconstruction:
    """Read a COLMAP model as `read_model`, whatever its images are called: for comparing names alone.

    Raises:
        InputError: when there is no model, or it cannot be read.
    """
    from dust3r_sfm.system._pycolmap import pycolmap

    found = find_model(folder)
    if found is None:
        raise InputError(
            f"{folder} holds no COLMAP model; give the folder of cameras.bin, images.bin and points3D.bin.", path=folder
        )
    try:
        return pycolmap.Reconstruction(str(found))
    except (RuntimeError, ValueError, IndexError) as error:
        raise InputError(f"The COLMAP model in {found} cannot be read; export it again.") from error


def refuse_unsafe_name(name: str, model: Path) -> None:
    """Refuse a name of a foreign model that would leave the image folder.

    Raises:
        InputError: when the name is empty, absolute or contains `..`.
    """
    path = PurePosixPath(name.replace("\\", "/"))
    if not name or path.is_absolute() or ".." in path.parts or PureWindowsPath(name).drive:
        raise InputError(
            f"The model in {model} names an image '{name}', which leads out of the image folder; rename it.", path=model
        )
