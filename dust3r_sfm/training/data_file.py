"""data.toml: which data sets a run trains on and is judged by.

    [[train]]
    kind = "blended-mvs"
    root = "/data/blendedmvs_processed"
    pairs_per_epoch = 100000

    [[validation]]
    kind = "folder"
    images = "/data/office/images"
    depths = "/data/office/depth"
    cameras = "/data/office/poses.json"
    pairs_per_epoch = 200

Relative paths are relative to the file.
"""

import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dust3r_sfm.errors import InputError
from dust3r_sfm.training.datasets.blended_mvs import BlendedMvs
from dust3r_sfm.training.datasets.folder import FolderSource
from dust3r_sfm.training.datasets.mixture import Mixture, Share
from dust3r_sfm.training.datasets.source import PairSource
from dust3r_sfm.types import Size

_KINDS: dict[str, Callable[..., PairSource]] = {"blended-mvs": BlendedMvs, "folder": FolderSource}
_PATHS = ("root", "images", "depths", "cameras", "poses")
_VALIDATION_SEED = 777
"""Of the pairs that judge, whatever the run's own seed is: Wang et al. 2024, released code."""


def read_data(path: Path, sizes: Sequence[Size], batch_size: int, seed: int) -> tuple[Mixture, Mixture | None]:
    """Open the data sets of a file.

    Returns:
        What is trained on, and what judges (None where the file names nothing).

    Raises:
        InputError: the file or one of its data sets cannot be used.
    """
    if not path.is_file():
        raise InputError(f"There is no file {path}; give a TOML file with [[train]] tables to --data.", path=path)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} cannot be read ({error}); give a TOML file with [[train]] tables.", path=path
        ) from error
    unknown = content.keys() - {"train", "validation"}
    if unknown or not content.get("train"):
        raise InputError(
            f"{path} needs [[train]] and may have [[validation]] tables; it has {', '.join(content) or 'none'}.",
            path=path,
        )
    training, validation = (
        [_share(table, path) for table in content.get(name, ())] for name in ("train", "validation")
    )
    return (
        Mixture(shares=training, sizes=sizes, batch_size=batch_size, seed=seed),
        Mixture(shares=validation, sizes=sizes[:1], batch_size=batch_size, seed=_VALIDATION_SEED)
        if validation
        else None,
    )


def _share(table: Mapping[str, Any], path: Path) -> Share:
    arguments = {name: path.parent / value if name in _PATHS else value for name, value in table.items()}
    kind, count = arguments.pop("kind", None), arguments.pop("pairs_per_epoch", None)
    if kind not in _KINDS or not isinstance(count, int) or count < 1:
        raise InputError(
            f"Each table of {path} needs a kind ({', '.join(_KINDS)}) and a number of pairs_per_epoch.", path=path
        )
    try:
        return Share(source=_KINDS[kind](**arguments), pairs_per_epoch=count)
    except TypeError as error:
        raise InputError(f"A '{kind}' table of {path} has other fields than it needs ({error}).", path=path) from error
