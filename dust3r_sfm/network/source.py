"""Where weights came from, under which terms, and what of them was used."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class LoadReport:
    """What became of each name when a file was loaded into a network.

    Attributes:
        loaded: parameters of the network whose value the file decided.
        missing: parameters the file has no value for.
        unexpected: entries of the file that the network has no place for.
    """

    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class WeightsSource:
    """The file behind a loaded network, as a run records it.

    Attributes:
        name: known name, hub id or path it was asked for by.
        path: the file that was read.
        sha256: its hash; files of one published name have differed.
        licence: the licence of the weights, or that it is unknown.
        report: what of the file was used.
    """

    name: str
    path: Path
    sha256: str
    licence: str
    report: LoadReport
