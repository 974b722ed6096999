"""The tree of errors: all are declared in one file, carry what they are about, and survive another process."""

import ast
import pickle
from pathlib import Path

import pytest

import dust3r_sfm
from dust3r_sfm import errors
from dust3r_sfm.errors import Dust3rSfmError, ImageError, InputError
from dust3r_sfm.images.read import read_images
from dust3r_sfm.network import load_network
from dust3r_sfm.options import ImageOptions

TREE = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Dust3rSfmError)]


def test_every_error_is_declared_in_the_tree():
    folder = Path(dust3r_sfm.__file__).parent
    known = {kind.__name__ for kind in TREE}
    for path in folder.rglob("*.py"):
        classes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ClassDef)]
        elsewhere = [one.name for one in classes if {getattr(base, "id", "") for base in one.bases} & known]
        assert not elsewhere or path.name == "errors.py", (path, elsewhere)
    assert all(kind.__name__ in errors.__doc__ for kind in TREE)


@pytest.mark.parametrize("kind", TREE)
def test_an_error_survives_another_process(kind):
    error = kind("a.jpg cannot be used.", path=Path("a.jpg"))
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == "a.jpg cannot be used." and again.path == Path("a.jpg")
    assert kind("of nothing").path is None


def test_an_image_error_names_its_photograph(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "broken.jpg").write_bytes(b"no picture")
    with pytest.raises(ImageError) as caught:
        read_images(tmp_path, ImageOptions(strict=True))
    assert caught.value.name == "sub/broken.jpg"
    assert caught.value.path == tmp_path / "sub" / "broken.jpg"
    assert pickle.loads(pickle.dumps(caught.value)).name == "sub/broken.jpg"
    assert isinstance(caught.value, InputError)


def test_a_weights_error_knows_its_file(tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(b"no checkpoint")
    with pytest.raises(errors.WeightsError) as caught:
        load_network(path)
    assert caught.value.path == path
