"""One photograph with its true depth."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True, kw_only=True)
class DepthSample:
    """A photograph with its true depth.

    Attributes:
        name: file of the photograph, relative to the root.
        root: folder.
        truth: reads the true depth, metres (h, w), 0 or not finite where unknown.
        is_complete: both files are here.
        write_picture: makes the photograph's file where the set has none; None where it has.
    """

    name: str
    root: Path
    truth: Callable[[], np.ndarray]
    is_complete: bool = True
    write_picture: Callable[[Path], None] | None = None
