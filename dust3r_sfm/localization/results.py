"""What localization found, on disk: hloc's text file, JSON beside it, and a journal that a killed run resumes."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
from jaxtyping import Float64
from scipy.spatial.transform import Rotation

from dust3r_sfm.errors import InputError, OutputError
from dust3r_sfm.images.foreign.camera import rigid
from dust3r_sfm.images.foreign.colmap_camera import read_camera
from dust3r_sfm.system.changes import changes
from dust3r_sfm.system.files import as_output_error, write_json, write_text
from dust3r_sfm.system.text import read_json, read_text
from dust3r_sfm.types import Localization

Names = Literal["full", "parent", "base"]

MAP_INPUTS = ("map", "scene", "stereo", "map_photographs")
"""Inputs that are those of a map, which may be gone when all is done."""

_SUMS = {
    "map": "another map",
    "scene": "another scene of the map",
    "stereo": "other depth maps of COLMAP",
    "map_photographs": "other photographs of the map",
    "queries": "other queries",
    "query_cameras": "other cameras of the queries",
    "depth_maps": "other depth maps",
    "retrieval_pairs": "other retrieved pairs",
    "global_features": "other global features",
    "hloc_features": "other keypoints of hloc",
    "hloc_matches": "other matches of hloc",
    "weights_files": "other weights under the same name",
    "matcher_weights": "other weights of the matcher",
}
"""Inputs that are check sums: what it means that they differ."""


class Results:
    """RESULTS.txt, RESULTS.json, and while a run lasts RESULTS.journal with what is done.

    Args:
        path: the text file.
        inputs: JSON values that the results depend on; those of other inputs are not gone on with.
        overwrite: begin anew instead of refusing results of other inputs.

    Raises:
        OutputError: the files hold results of other inputs, or something else, and `overwrite` is off.
    """

    def __init__(self, path: Path, inputs: Mapping[str, Any], *, overwrite: bool = False) -> None:
        self.path = path
        self.json_path = path.with_suffix(".json")
        if self.json_path == path:
            raise InputError(
                f"{path} is the name of the JSON file beside the results; call the results .txt.", path=path
            )
        if path.is_dir():
            raise InputError(
                f"{path} is a folder; name a file for the results, such as {path / 'results.txt'}.", path=path
            )
        self._journal = path.with_suffix(".journal")
        self._inputs: dict[str, Any] = json.loads(json.dumps(inputs, default=str))
        self._has_map = any(name in self._inputs for name in MAP_INPUTS)
        self.done: dict[str, Localization] = {}
        if not overwrite:
            self._resume()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with self._journal.open("w", encoding="utf-8") as file:
                file.write(json.dumps({"inputs": self._inputs}) + "\n")
                file.writelines(_line(found) for found in self.done.values())
        except OSError as error:
            told = as_output_error(error, self._journal)
            if told is error:
                told = OutputError(
                    f"{path} cannot be written ({error.strerror}); choose another place for it.", path=path
                )
            raise told from error

    def add(self, localizations: Iterable[Localization]) -> None:
        """Note finished queries at once.

        Raises:
            OutputError: the disk is full.
        """
        try:
            with self._journal.open("a", encoding="utf-8") as file:
                for localization in localizations:
                    self.done[localization.name] = localization
                    file.write(_line(localization))
        except OSError as error:
            raise as_output_error(error, self._journal) from error

    def finish(self, names: Sequence[str], written: Names, failed: Literal["omit", "nearest"]) -> None:
        """Write the text and the JSON file, in the order of `names`, and remove the journal."""
        localizations = [self.done[name] for name in names]
        write_text(self.path, results_text(localizations, written, failed))
        queries = {localization.name: to_json(localization) for localization in localizations}
        write_json(self.json_path, {"inputs": self._inputs, "queries": queries})
        self._journal.unlink(missing_ok=True)

    def _resume(self) -> None:
        occupied = self.path.exists() and not self.json_path.exists()
        for file, entries in ((self.json_path, _of_json), (self._journal, _of_journal)):
            if not file.is_file():
                continue
            try:
                inputs, localizations = entries(file)
            except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError, InputError):
                occupied = True
                continue
            if file == self._journal and not localizations:  # of a run that failed before its first query
                continue
            if not self._has_map:  # what is finished needs no map
                self._inputs |= {name: inputs[name] for name in MAP_INPUTS if name in inputs}
            if inputs != self._inputs:
                changed = [name for name in {**self._inputs, **inputs} if inputs.get(name) != self._inputs.get(name)]
                words = "; ".join(changes(inputs, self._inputs, changed, _SUMS))
                raise OutputError(
                    f"{file} holds results of another run ({words}); choose another name, or add --overwrite."
                )
            self.done.update({localization.name: localization for localization in localizations})
        if occupied:
            raise OutputError(f"{self.path} or a file beside it was not written by this command; add --overwrite.")


def results_text(localizations: Sequence[Localization], names: Names, failed: Literal["omit", "nearest"]) -> str:
    """hloc's results: `name qw qx qy qz tx ty tz` a line, camera from world.

    Args:
        localizations: what localization found.
        names: full, the file with its folder (hloc's `prepend_camera_name`), or the file alone.
        failed: whether queries without a pose are left out, or given the pose of the first retrieved image.

    Raises:
        InputError: two queries would have the same name, or a name holds a blank.
    """
    lines: dict[str, str] = {}
    for localization in localizations:
        name = "/".join(PurePosixPath(localization.name).parts[{"full": 0, "parent": -2, "base": -1}[names] :])
        if any(map(str.isspace, name)):
            raise InputError(f"'{name}' holds a blank, which hloc's results cannot; rename the query.")
        if name in lines:
            raise InputError(f"Two queries are called {name} in the results; use --result-names full.")
        pose = localization.cam_from_world
        pose = localization.nearest if pose is None and failed == "nearest" else pose
        lines[name] = "" if pose is None else f"{name} {_numbers(pose)}\n"
    return "".join(lines.values())


def to_json(localization: Localization) -> dict[str, Any]:
    """All of a localization as JSON values."""
    camera = localization.camera
    pose = localization.cam_from_world
    return {
        "name": localization.name,
        "cam_from_world": None if pose is None else pose.tolist(),
        "reason": localization.reason,
        "camera": camera and {"model": camera.model, "size": list(camera.size), "params": list(camera.params)},
        "num_matches": localization.num_matches,
        "num_inliers": localization.num_inliers,
        "confidence": localization.confidence,
        "covariance": None if localization.covariance is None else localization.covariance.tolist(),
        "retrieved": list(localization.retrieved),
        "nearest": None if localization.nearest is None else localization.nearest.tolist(),
    }


def from_json(values: Mapping[str, Any]) -> Localization:
    """The localization that `to_json` wrote.

    Raises:
        LookupError, TypeError, ValueError, InputError: it is something else.
    """
    camera = values["camera"]
    if not isinstance(values["name"], str):
        raise TypeError("a name is no text")
    return Localization(
        name=values["name"],
        cam_from_world=_pose(values["cam_from_world"], values["name"]),
        reason=values["reason"],
        camera=camera and read_camera(camera["model"], camera["size"], camera["params"]),
        num_matches=values["num_matches"],
        num_inliers=values["num_inliers"],
        confidence=values["confidence"],
        covariance=_array(values["covariance"]),
        retrieved=tuple(values["retrieved"]),
        nearest=_pose(values["nearest"], values["name"]),
    )


def _numbers(pose: Float64[np.ndarray, "3 4"]) -> str:
    x, y, z, w = Rotation.from_matrix(pose[:, :3]).as_quat(canonical=True)
    return " ".join(repr(float(value)) for value in (w, x, y, z, *pose[:, 3]))


def _pose(values: Any, name: str) -> np.ndarray | None:
    return None if values is None else rigid(np.array(values, np.float64).reshape(3, 4), name, Path("results"))


def _array(values: Any) -> np.ndarray | None:
    return None if values is None else np.array(values, np.float64)


def _line(localization: Localization) -> str:
    return json.dumps(to_json(localization)) + "\n"


def _of_json(path: Path) -> tuple[dict[str, Any], list[Localization]]:
    content = read_json(path)
    return dict(content["inputs"]), [from_json(values) for values in content["queries"].values()]


def _of_journal(path: Path) -> tuple[dict[str, Any], list[Localization]]:
    header, *lines = read_text(path).splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("\n")]  # a kill may cut the last one short
    return dict(json.loads(header)["inputs"]), [from_json(json.loads(line)) for line in whole]
