"""What was measured of each sample of a data set, on disk, so that a killed run goes on where it was."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dust3r_sfm.errors import OutputError
from dust3r_sfm.system.files import write_json

_FORMAT = "dust3r_sfm samples 1"
_MAX_UNSAVED_SECONDS = 5.0
"""A killed run does again what it measured in its last seconds; chosen by hand."""


class Records:
    """OUT/samples.json: JSON values by the name of a sample.

    Args:
        out: folder; made when something is saved.
        inputs: JSON values that the records depend on; those of other inputs are not gone on with.
        overwrite: begin anew instead of refusing records of other inputs.

    Raises:
        OutputError: the folder holds records of other inputs, or something else, and `overwrite` is off.
    """

    def __init__(self, out: Path, inputs: Mapping[str, Any], *, overwrite: bool = False) -> None:
        self._path = out / "samples.json"
        self._inputs = json.loads(json.dumps(inputs, default=str))
        self._saved = time.monotonic()
        self.samples: dict[str, Any] = {}
        if not overwrite and self._path.exists():
            self.samples = self._read()

    def __contains__(self, name: str) -> bool:
        return name in self.samples

    def add(self, name: str, record: Any) -> None:
        """Note what was measured of a sample; it is on disk some seconds later, or when `saving` ends."""
        self.samples[name] = record
        if time.monotonic() - self._saved > _MAX_UNSAVED_SECONDS:
            self._save()

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Save at the end of the block, also after an error in it."""
        try:
            yield
        finally:
            self._save()

    def _save(self) -> None:
        write_json(self._path, {"format": _FORMAT, "inputs": self._inputs, "samples": self.samples})
        self._saved = time.monotonic()

    def _read(self) -> dict[str, Any]:
        try:
            content = json.loads(self._path.read_text(encoding="utf-8"))
            samples, inputs = content["samples"], content["inputs"]
            if content["format"] != _FORMAT or not isinstance(samples, dict):
                raise ValueError
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise OutputError(
                f"{self._path} holds no samples that this version reads; add --overwrite to begin anew.",
                path=self._path,
            ) from error
        if inputs != self._inputs:
            changed = sorted(key for key in {*inputs, *self._inputs} if inputs.get(key) != self._inputs.get(key))
            raise OutputError(
                f"{self._path} holds samples of other options ({', '.join(changed)}); choose another folder or add "
                "--overwrite.",
                path=self._path,
            )
        return samples
