from pathlib import Path

import pytest

from dust3r_sfm.errors import InputError
from dust3r_sfm.predictors.shard import Shard, parse_shard, unfinished_shards


def test_names():
    assert parse_shard("2/4") == Shard(index=2, count=4)
    assert parse_shard("2/4").beside(Path("out/predictions.h5")) == Path("out/predictions.2-of-4.h5")


@pytest.mark.parametrize("text", ["", "2", "0/4", "5/4", "2/0", "-1/4", "a/b", "2/4/8", "1.5/4"])
def test_what_is_no_share_is_a_sentence(text):
    with pytest.raises(InputError, match=r"no shard '.*'; say which of how many"):
        parse_shard(text)


def test_shards_that_are_not_finished_are_named(tmp_path):
    store = tmp_path / "predictions.h5"
    assert unfinished_shards(store) == []
    (tmp_path / "predictions.1-of-3.h5").touch()
    (tmp_path / "predictions.2-of-3.h5").touch()
    (tmp_path / "predictions.2-of-3.h5.parts").mkdir()
    (tmp_path / "predictions.backup.h5").touch()
    assert unfinished_shards(store) == ["predictions.2-of-3.h5", "predictions.3-of-3.h5"]
    (tmp_path / "predictions.2-of-3.h5.parts").rmdir()
    (tmp_path / "predictions.3-of-3.h5").touch()
    assert unfinished_shards(store) == []
