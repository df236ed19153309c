"""The files that the lessons use, as they lie in the cache."""

from __future__ import annotations

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlcourse import assets


@pytest.mark.parametrize("asset", [asset for asset in assets.table() if asset.default], ids=lambda asset: asset.name)
def test_every_default_asset_is_whole(asset):
    if asset.fetched:
        folder = assets.path(asset.name)
        sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
        assert sum(sizes) == asset.bytes
    assert assets.verify([asset.name]) == {asset.name: "ok"}


def test_contents_are_what_the_description_says():
    assert len(list(assets.path("textiles").glob("*/*.jpg"))) == 2000
    assert len(json.loads(assets.path("emoji_noto", "icons.json").read_text("utf-8"))["icons"]) > 1561
    with gzip.open(assets.path("mnist5k", "mnist_5k.csv.gz"), "rt") as rows:
        assert sum(1 for _ in rows) == 5000
    first = assets.path("sentiment", "movies.txt").read_text("latin-1").splitlines()[0].split("\t")
    assert len(first) == 3
    assert -4 <= float(first[1]) <= 4


def test_unknown_names_list_the_near_ones():
    with pytest.raises(KeyError, match="did you mean minilm"):
        assets.path("minlm")
    with pytest.raises(KeyError, match=r"did you mean model\.safetensors"):
        assets.path("minilm", "model.safetensor")
    with pytest.raises(KeyError, match="did you mean smollm2"):
        assets.verify(["smollm"])


@given(st.text())
def test_no_text_is_taken_for_a_name(name):
    with pytest.raises(KeyError, match="no asset is called"):
        assets.path(name)


def test_library_parts_have_nothing_to_fetch():
    with pytest.raises(ValueError, match="part of the package scikit-learn"):
        assets.path("sklearn_digits")
    assert assets.fetch(["sklearn_digits"], progress=False) == {}
