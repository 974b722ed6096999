import numpy as np
from PIL import Image

from dust3r_sfm.images.read import read_images
from dust3r_sfm.options import ImageOptions
from dust3r_sfm.runs.record import photographs_digest


def test_photographs_and_masks_count_by_content(tmp_path):
    photos, masks = tmp_path / "photos", tmp_path / "masks"
    photos.mkdir()
    masks.mkdir()
    rng = np.random.default_rng(0)
    for name in ("a.png", "b.png"):
        Image.fromarray(rng.integers(0, 255, (48, 64, 3), np.uint8)).save(photos / name)

    def found(folder=None):
        return photographs_digest(read_images(photos, ImageOptions(masks=folder)))

    bare = found()
    assert bare["masks"] is None
    Image.new("L", (64, 48), 255).save(masks / "a.png.png")
    white = found(masks)
    assert white["photographs"] == bare["photographs"] and white["masks"] is not None
    Image.new("L", (64, 48), 0).save(masks / "a.png.png")
    assert found(masks)["masks"] not in (None, white["masks"])
    Image.fromarray(rng.integers(0, 255, (48, 64, 3), np.uint8)).save(photos / "b.png")
    assert found()["photographs"] != bare["photographs"]
