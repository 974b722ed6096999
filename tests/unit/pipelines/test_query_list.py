"""A list of queries to the file that a server takes."""

import json

import numpy as np
import pytest

from dust3r_sfm.evaluation.localization import read_results
from dust3r_sfm.geometry.transforms import centres
from dust3r_sfm.localization.reference import model_of_poses
from pipelines.__main__ import main
from pipelines.seven_scenes.registration import COLOUR

from .conftest import MAPPING, add_points

NAMES = {index: f"db/{index}.png" for index in MAPPING}
CAMERA = "PINHOLE 640 480 525 525 320 240"


@pytest.fixture
def arguments(rendered, tmp_path):
    """A model, its photographs, and two lists of queries, as Aachen has them for day and night."""
    rendered.write(tmp_path / "images", NAMES | {2: "query/day/2.png"})
    (tmp_path / "images" / "query" / "night").mkdir()
    (tmp_path / "images" / "query" / "night" / "9.png").write_text("damaged")
    model = model_of_poses(
        dict.fromkeys(NAMES.values(), COLOUR), {name: rendered.cam_from_world[i] for i, name in NAMES.items()}
    )
    add_points(model, rendered, NAMES)
    (tmp_path / "model").mkdir()
    model.write_binary(str(tmp_path / "model"))
    (tmp_path / "day_with_intrinsics.txt").write_text(f"# day\nquery/day/2.png {CAMERA}\n")
    (tmp_path / "night_with_intrinsics.txt").write_text(f"query/night/9.png {CAMERA}\n")
    options = {
        "reference_sfm": "model",
        "image_dir": "images",
        "queries": "*_with_intrinsics.txt",
        "results": "results.txt",
    }
    return ["query-list", "--num-workers", "1"] + [
        word for name, value in options.items() for word in (f"--{name}", str(tmp_path / value))
    ]


def test_every_query_that_can_be_read_has_a_line(arguments, rendered, tmp_path, capsys):
    assert main(arguments) == 0
    assert "1 of 2 queries" in capsys.readouterr().out
    poses = read_results(tmp_path / "results.txt")
    assert list(poses) == ["2.png"]
    assert np.linalg.norm(centres(poses["2.png"]) - centres(rendered.cam_from_world[2])) < 0.02
    reasons = json.loads((tmp_path / "results.json").read_text())["queries"]
    assert reasons["query/night/9.png"]["reason"]
    assert main([*arguments, "--prepend_camera_name"]) == 0  # nothing is localized again
    assert list(read_results(tmp_path / "results.txt")) == ["day/2.png"]


def test_a_mistake_is_one_sentence(arguments, tmp_path, capsys):
    (tmp_path / "day_with_intrinsics.txt").write_text(f"query/day/2.png {CAMERA[:-3]}\n")
    assert main(arguments) == 1
    assert "day_with_intrinsics.txt, line 1" in capsys.readouterr().err
    (tmp_path / "day_with_intrinsics.txt").write_text(f"query/day/2.png {CAMERA}\n")
    (tmp_path / "model" / "images.bin").unlink()
    assert main(arguments) == 1
    assert "no COLMAP model" in capsys.readouterr().err
