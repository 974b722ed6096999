import errno
import sys
import types

import pytest

from dust3r_sfm.errors import WeightsError
from dust3r_sfm.network import KNOWN_WEIGHTS
from dust3r_sfm.network.hub import locate
from dust3r_sfm.network.names import find_known, find_licence, weights_folder

KNOWN = KNOWN_WEIGHTS["dust3r-512-dpt"]


class RepositoryNotFoundError(Exception):
    pass


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def hub(monkeypatch):
    """hub(error) puts a hub client in place that raises it, or that answers with files of a folder."""

    def install(answer):
        def download(repository, name):
            if isinstance(answer, Exception):
                raise answer
            asked.append((repository, name))
            return str(answer / name)

        asked: list[tuple[str, str]] = []
        monkeypatch.setitem(sys.modules, "huggingface_hub", types.SimpleNamespace(hf_hub_download=download))
        return asked

    return install


@pytest.mark.parametrize("source", ["dust3r-512-dpt", KNOWN.hub_id, "somebody/fine-tuned.v2"])
def test_names_and_hub_ids_are_downloaded(hub, tmp_path, source):
    asked = hub(tmp_path)
    assert locate(source) == tmp_path
    repository = KNOWN.hub_id if source == KNOWN.name else source
    assert asked == [(repository, "config.json"), (repository, "model.safetensors")]


def test_a_file_put_by_hand_comes_first(hub):
    asked = hub(ConnectionError("unreachable"))
    path = weights_folder() / KNOWN.file_name
    path.parent.mkdir(parents=True)
    path.touch()
    assert locate("dust3r-512-dpt") == path and not asked


@pytest.mark.parametrize("error", [ConnectionError("no route"), TimeoutError(), OSError("LocalEntryNotFound")])
def test_no_connection_says_which_file_to_put_where(hub, error):
    hub(error)
    with pytest.raises(WeightsError) as caught:
        locate("dust3r-512-dpt")
    assert KNOWN.url in str(caught.value) and str(weights_folder() / KNOWN.file_name) in str(caught.value)
    with pytest.raises(WeightsError, match=r"config.json and model.safetensors of some/thing"):
        locate("some/thing")


def test_no_client_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(WeightsError, match=r"pip install 'dust3r_sfm\[hub\]'.*" + KNOWN.url):
        locate("dust3r-512-dpt")


def test_a_full_disk_and_an_unknown_repository(hub):
    hub(OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(WeightsError, match=r"The disk is full.*HF_HOME"):
        locate("dust3r-512-dpt")
    hub(RepositoryNotFoundError("404"))
    with pytest.raises(WeightsError, match="no repository 'some/thing'"):
        locate("some/thing")


@pytest.mark.parametrize("source", ["nothing", "folder/nothing.pth", "../up/here", "/abs/nothing", "one/two/three"])
def test_what_is_no_name_is_not_looked_up(hub, source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asked = hub(tmp_path)
    with pytest.raises(WeightsError, match="none of the known names"):
        locate(source)
    assert not asked


def test_licences_follow_the_weights():
    assert "NC" in find_licence("mast3r-512") and "Map-free" in find_licence("mast3r-512")
    assert "NC" in find_licence("/some/where/DUSt3R_ViTLarge_BaseDecoder_512_dpt.pth")
    assert "NC" in find_licence("/some/where/CroCo_V2_ViTLarge_BaseDecoder.pth")
    assert "unknown" in find_licence("mine.pth")
    assert find_known(KNOWN.url) is find_known(KNOWN.hub_id) is KNOWN
