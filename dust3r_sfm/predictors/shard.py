"""One machine's share of a run: `--shard 2/4` predicts the second quarter of the pairs into predictions.2-of-4.h5."""

import re
from dataclasses import dataclass
from pathlib import Path

from dust3r_sfm.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Shard:
    """Part `index` (from 1) of `count`."""

    index: int
    count: int

    def beside(self, path: Path) -> Path:
        """The file of this shard that stands for `path`: predictions.2-of-4.h5 for predictions.h5."""
        return path.with_name(f"{path.stem}{self.suffix}{path.suffix}")

    @property
    def suffix(self) -> str:
        """What tells the names of this shard's files from those of others."""
        return f".{self.index}-of-{self.count}"


def parse_shard(text: str) -> Shard:
    """Read `2/4`.

    Raises:
        InputError: no such two numbers.
    """
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text.strip())
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise InputError(
            f"There is no shard '{text}'; say which of how many, from --shard 1/4 to --shard 4/4 for four."
        )
    return Shard(index=int(match[1]), count=int(match[2]))


def unfinished_shards(path: Path) -> list[str]:
    """Names of the shards of the store at `path` that are not there or not finished while others of their kind are."""
    finished_of: dict[int, set[int]] = {}
    for file in path.parent.glob(f"{path.stem}.*-of-*{path.suffix}*"):
        name = file.name.removeprefix(f"{path.stem}.")
        match = re.fullmatch(rf"(\d+)-of-(\d+){re.escape(path.suffix)}(\.parts)?", name)
        if match is not None:
            finished = finished_of.setdefault(int(match[2]), set())
            if match[3] is None and not file.with_name(f"{file.name}.parts").exists():
                finished.add(int(match[1]))
    return [
        Shard(index=index, count=count).beside(path).name
        for count, finished in sorted(finished_of.items())
        for index in range(1, count + 1)
        if index not in finished
    ]
