"""What a predictor said about every directed edge, on disk: resumable, whole after a kill at any moment.

`predictions.h5` holds one group per edge, `/NAME1/NAME2` with percent-encoded image names (see `record` for what is in
it). While a run goes on, finished batches lie as files of the same format in `predictions.h5.parts/`. Shards of other
machines may lie beside it as `predictions.ANYTHING.h5`. All are read as one.
"""

import contextlib
import shutil
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from types import TracebackType
from urllib.parse import quote
from uuid import uuid4

import h5py
import numpy as np
from jaxtyping import Float16

from dust3r_sfm.errors import InputError, OutputError
from dust3r_sfm.predictors.record import MAX_BYTES_PER_PIXEL, read_halves, read_record, write_record
from dust3r_sfm.system.files import atomic_path
from dust3r_sfm.system.hdf5 import open_or_say, or_say, require_group
from dust3r_sfm.system.hdf5_writer import memory_file, new_file
from dust3r_sfm.types import Edge, ImageSet, PairPrediction

FORMAT = "dust3r_sfm predictions 1"
MAX_PART_BYTES = 16 << 20
"""What is gathered in memory at most before it is put on disk. Chosen by hand."""

_MAX_PART_SECONDS = 20.0
"""Work that a kill can lose. Chosen by hand."""

MAX_OPEN_FILES = 64
"""Files open at once: systems allow 256 and more. Chosen by hand."""

_OVERHEAD_BYTES = 4096
"""What an edge takes besides its maps. Chosen by hand."""

_SENTENCE = ("file of predictions", "delete it and run the same command again")
"""What the store holds, and what helps where it is damaged."""


@dataclass(frozen=True, kw_only=True)
class StoreHeader:
    """Where the predictions of a file come from.

    Attributes:
        predictor: its name.
        licence: its licence, which may bind what is made from the predictions.
        fingerprint: hash of everything the predictions depend on; files of one store have the same.
    """

    predictor: str
    licence: str
    fingerprint: str


class PredictionStore(Mapping[Edge, PairPrediction]):
    """The stored predictions by directed edge (indices into `names`), read from disk one at a time.

    Iterates in sorted order; edges of images that are not in `names` are left out. Reading is thread-safe.

    Attributes:
        path: the file; it need not exist yet.
        header: where the predictions come from, None while there are none.

    Raises:
        InputError: when a file is damaged, not a prediction store, or comes from another run than the others.
    """

    def __init__(self, path: Path, names: Sequence[str], header: StoreHeader | None = None) -> None:
        """Find the stored edges of `names`; with `header`, refuse predictions that were made otherwise."""
        self.path = path
        self.header = header
        self._records: dict[Edge, tuple[Path, str]] = {}
        self._open: OrderedDict[Path, h5py.File] = OrderedDict()
        self._lock = threading.Lock()
        index = {quote(name, safe=""): i for i, name in enumerate(names)}
        for file in store_files(path):
            self._join(file, index)

    def edges(self) -> list[Edge]:
        """Return the stored directed edges, sorted."""
        return sorted(self._records)

    def __iter__(self) -> Iterator[Edge]:
        return iter(self.edges())

    def __len__(self) -> int:
        return len(self._records)

    def __contains__(self, edge: object) -> bool:
        return edge in self._records

    def __getitem__(self, edge: Edge) -> PairPrediction:
        file, record = self._records[edge]
        with self._lock, or_say(file, *_SENTENCE):
            return read_record(require_group(self._opened(file), record))

    def stored(
        self, edge: Edge, roles: Sequence[int]
    ) -> list[tuple[Float16[np.ndarray, "h w 3"], Float16[np.ndarray, "h w"], float]]:
        """Read some pointmaps of an edge as they are stored: points over a scale, confidence, and that scale.

        Converting a whole prediction takes longer than reading it; whoever needs a part of it converts that part.

        Args:
            edge: the directed edge.
            roles: 0 for the pointmap of its first image, 1 for that of its second.
        """
        file, record = self._records[edge]
        with self._lock, or_say(file, *_SENTENCE):
            group = require_group(self._opened(file), record)
            return [read_halves(group, role) for role in roles]

    def close(self) -> None:
        """Close the files; reading opens them again."""
        with self._lock:
            while self._open:
                self._open.popitem()[1].close()

    def _opened(self, file: Path) -> h5py.File:
        if file not in self._open:
            while len(self._open) >= MAX_OPEN_FILES:
                self._open.popitem(last=False)[1].close()
            self._open[file] = h5py.File(file, "r")
        self._open.move_to_end(file)
        return self._open[file]

    def _join(self, file: Path, index: Mapping[str, int]) -> None:
        with open_or_say(file, *_SENTENCE) as h5:
            header = _header(h5, file)
            if self.header is not None and header.fingerprint != self.header.fingerprint:
                raise InputError(
                    f"{file} holds predictions of another run (made by '{header.predictor}'; the predictor, its "
                    "weights, the seed or the photographs differ); delete it or choose another output folder.",
                    path=file,
                )
            self.header = header
            for name1 in index.keys() & h5.keys():
                for name2 in index.keys() & require_group(h5, name1).keys():
                    self._records.setdefault((index[name1], index[name2]), (file, f"{name1}/{name2}"))


class PredictionWriter:
    """Adds predictions to the store at `path`; use it in a `with` block.

    Predictions are gathered in memory and put on disk as whole files, so a kill loses at most the last
    `_MAX_PART_SECONDS` or `MAX_PART_BYTES` and never damages what is there. When the block ends well the parts become
    one file; when it ends with an error they stay, and the next run goes on from them.

    Raises:
        OutputError: when the disk is full or the folder cannot be written; what is on disk stays usable.
    """

    def __init__(self, path: Path, names: Sequence[str], header: StoreHeader) -> None:
        self._path = path
        self._names = [quote(name, safe="") for name in names]
        self._header = header
        self._begin()

    def add(self, edge: Edge, prediction: PairPrediction) -> None:
        """Store one prediction."""
        group = self._part.create_group(f"{self._names[edge[0]]}/{self._names[edge[1]]}")
        self._num_bytes += write_record(group, prediction) + _OVERHEAD_BYTES
        if self._num_bytes > MAX_PART_BYTES or time.monotonic() - self._started > _MAX_PART_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Put on disk what was added since the last time."""
        self._part.close()
        if self._num_bytes:
            with atomic_path(_parts_folder(self._path) / f"{uuid4().hex}.h5") as temporary:
                temporary.write_bytes(self._image.getbuffer())
        self._begin()

    def __enter__(self) -> "PredictionWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # After a full disk too: what is in memory may still find room.
        with contextlib.suppress(OutputError) if isinstance(error, OutputError) else contextlib.nullcontext():
            self.flush()
        self._part.close()
        if error is None:
            merge_parts(self._path, self._header)

    def _begin(self) -> None:
        self._num_bytes = 0
        self._started = time.monotonic()
        self._image = BytesIO()
        self._part = memory_file(self._image)
        _say_whose(self._part, self._header)


def store_files(path: Path) -> list[Path]:
    """Return the files that make up the store at `path`: itself, its shards, and the parts of unfinished runs."""
    shards = f"{path.stem}.*{path.suffix}"
    files = [path] if path.is_file() else []
    for pattern in (shards, f"{path.name}.parts/*.h5", f"{shards}.parts/*.h5"):
        files += sorted(path.parent.glob(pattern))
    return files


def estimated_size(images: ImageSet, num_edges: int, descriptor_size: int = 0) -> int:
    """Return how many bytes the predictions of `num_edges` directed edges take at most.

    Args:
        images: the photographs.
        num_edges: number of directed edges.
        descriptor_size: numbers in a descriptor, 0 without descriptors (MASt3R's 24 take six times the rest).
    """
    num_pixels = float(np.mean([view.network_size[0] * view.network_size[1] for view in images.views]))
    per_pixel, overhead = MAX_BYTES_PER_PIXEL, _OVERHEAD_BYTES
    if descriptor_size:  # as many datasets again: half floats, and one for their confidence
        per_pixel, overhead = per_pixel + 2 * (descriptor_size + 1), 2 * overhead
    return int(num_edges * (2 * num_pixels * per_pixel + overhead))


def check_disk(path: Path, num_bytes: int) -> None:
    """Refuse to begin what cannot end.

    Raises:
        OutputError: when the file system of `path` has less than `num_bytes` free.
    """
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    free = shutil.disk_usage(folder).free
    if free < num_bytes:
        raise OutputError(
            f"{path} would take up to {num_bytes / 1e9:.1f} GB and only {free / 1e9:.1f} GB of the disk are free; "
            "free some space, choose another output folder, or predict fewer pairs (--pairs, --one-direction).",
            path=path,
        )


def features_folder(path: Path) -> Path:
    """Where encoded photographs wait while the store at `path` is made; it goes with the parts."""
    return _parts_folder(path) / "features"


def matches_folder(path: Path) -> Path:
    """Where a predictor keeps learned features and matches of the store at `path`: OUT/matching, or of a shard."""
    return path.with_name(path.stem.replace("predictions", "matching"))


def _parts_folder(path: Path) -> Path:
    return path.with_name(f"{path.name}.parts")


def merge_parts(path: Path, header: StoreHeader) -> None:
    """Make one file of the store and its parts, unless the disk cannot hold both: parts are read just as well."""
    parts = sorted(_parts_folder(path).glob("*.h5"))
    sources = [path, *parts] if path.is_file() else parts
    if not parts or sum(file.stat().st_size for file in sources) > shutil.disk_usage(path.parent).free:
        return
    with new_file(path) as merged:
        _say_whose(merged, header)
        for file in sources:
            with open_or_say(file, *_SENTENCE) as source:
                for name1, group in source.items():
                    target = merged.require_group(name1)
                    for name2 in group.keys() - target.keys():
                        source.copy(group[name2], target)
    shutil.rmtree(_parts_folder(path))


def _say_whose(h5: h5py.File, header: StoreHeader) -> None:
    h5.attrs.update(format=FORMAT, **asdict(header))


def _header(h5: h5py.File, file: Path) -> StoreHeader:
    if h5.attrs.get("format") != FORMAT:
        raise InputError(
            f"{file} holds no predictions that this version reads; delete it or choose another output folder.",
            path=file,
        )
    return StoreHeader(**{name: str(h5.attrs[name]) for name in ("predictor", "licence", "fingerprint")})
