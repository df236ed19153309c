from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest

from tlcourse import assets
from tlcourse.assets import registry

ENTRY = """
[tiny]
title = "Tiny"
kind = "wheel"
package = "tiny"
version = "1"
licence = "MIT"
citation = "Nobody"
url = "https://example.org"
description = "Two files."
archive = { bytes = 10, sha256 = "HASH" }
files = [{ name = "a.txt", member = "tiny/a.txt", bytes = 1, sha256 = "HASH" }]
""".replace("HASH", "0" * 64)


def load(tmp_path, text):
    (tmp_path / "table.toml").write_text(text, "utf-8")
    return registry.load(tmp_path / "table.toml")


def test_every_asset_says_where_it_is_from():
    names = {asset.name for asset in assets.table()}
    emoji = {f"emoji_{style}" for style in ("noto", "twemoji", "openmoji", "fluent")}
    libraries = {"sklearn_digits", "sklearn_breast_cancer", "sklearn_photographs", "dejavu_fonts"}
    models = {"efficientnet_lite0", "minilm", "smollm2"}
    assert names == models | emoji | libraries | {"sentiment", "mnist5k", "textiles", "emojibase"}
    for asset in assets.table():
        assert asset.fetched == (asset.name not in libraries)
        assert asset.fetched == (asset.bytes > 0) == (asset.download_bytes > 0)
        assert asset.url.startswith("https://")


def test_share_alike_is_said():
    (openmoji,) = (asset for asset in assets.table() if asset.name == "emoji_openmoji")
    assert openmoji.licence == "CC-BY-SA-4.0"
    assert "CC BY-SA 4.0" in openmoji.description


def test_valid_entry_loads(tmp_path):
    asset = load(tmp_path, ENTRY)["tiny"]
    assert (asset.requirement, asset.bytes, asset.download_bytes, asset.default) == ("tiny==1", 1, 10, True)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('kind = "wheel"', 'kind = "egg"', "kind 'egg' is none of wheel"),
        ("licence", "license", "unknown field 'license'; did you mean licence"),
        ('licence = "MIT"', 'licence = ""', "licence is empty"),
        ('licence = "MIT"\n', "", "missing"),
        ('version = "1"', "", "version is empty"),
        ("[tiny]", '["../tiny"]', "the name may hold only"),
        ("bytes = 10", "bytes = 0", "bytes must be positive"),
        ("0" * 64, "0" * 63, "not a sha256"),
        ("member", "membre", "misspelt"),
        ('kind = "wheel"', 'kind = "library"', "nothing to fetch"),
        ("archive =", "default = true\n#", "archive"),
        ("files =", "#", "either files or a tree"),
        (
            "}]",
            '}, { name = "a.txt", member = "b", bytes = 1, sha256 = "' + "0" * 64 + '" }]',
            "two files have the same name",
        ),
    ],
)
def test_bad_entry_is_named(tmp_path, old, new, message):
    with pytest.raises(ValueError, match=message) as caught:
        load(tmp_path, ENTRY.replace(old, new))
    assert "tiny" in str(caught.value)


PARTS = {
    "archive": 'archive = { bytes = 10, sha256 = "HASH" }\n',
    "files": 'files = [{ name = "a.txt", member = "tiny/a.txt", bytes = 1, sha256 = "HASH" }]\n',
    "tree": 'tree = { root = "tiny", pattern = "*.txt", count = 1, bytes = 1, sha256 = "HASH" }\n',
}


@pytest.mark.parametrize("part", PARTS)
def test_a_library_part_has_none_of_what_is_fetched(tmp_path, part):
    bare = ENTRY.split("archive =")[0].replace('kind = "wheel"', 'kind = "library"')
    asset = load(tmp_path, bare)["tiny"]
    assert (asset.fetched, asset.bytes, asset.download_bytes, asset.requirement) == (False, 0, 0, "tiny")
    with pytest.raises(ValueError, match="asset tiny: a library part has nothing to fetch"):
        load(tmp_path, bare + PARTS[part].replace("HASH", "0" * 64))


def test_sizes_of_a_tree_and_of_files_add_up(tmp_path):
    tree = ENTRY.split("files =")[0] + PARTS["tree"].replace("HASH", "0" * 64)
    assert load(tmp_path, tree)["tiny"].bytes == 1
    both = ENTRY.replace(
        "}]", '}, { name = "b", member = "b", bytes = 41, sha256 = "HASH" }]'.replace("HASH", "1" * 64)
    )
    assert load(tmp_path, both)["tiny"].bytes == 42


def test_the_table_cannot_be_changed(tmp_path):
    asset = load(tmp_path, ENTRY)["tiny"]
    tree = registry.Tree(root="r", pattern="*.jpg", count=1, bytes=1, sha256="0" * 64)
    for thing in (asset, asset.archive, *asset.files, tree):
        with pytest.raises(dataclasses.FrozenInstanceError):
            thing.bytes = 2


def test_three_near_names_are_enough():
    assert registry.near("text", dict.fromkeys(["text1", "text2", "text3", "text4"])).count("text") == 3
    assert registry.near("text", {"text1": 0}) == "did you mean text1?"
    assert registry.near("xyz", {"a": 0, "b": 0}) == "there are: a, b"


def test_the_table_is_read_once():
    assert all(first is second for first, second in zip(assets.table(), assets.table(), strict=True))


def test_tree_pattern_stays_in_its_folder():
    tree = registry.Tree(root="r", pattern="*/*.jpg", count=1, bytes=1, sha256="0" * 64)
    assert tree.matches("a/b.jpg")
    for name in ("b.jpg", "a/b/c.jpg", "a/b.png"):
        assert not tree.matches(name)


def test_importing_assets_does_not_import_torch():
    code = "import sys, tlcourse.assets; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
