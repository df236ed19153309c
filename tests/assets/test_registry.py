from __future__ import annotations

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


def test_tree_pattern_stays_in_its_folder():
    tree = registry.Tree(root="r", pattern="*/*.jpg", count=1, bytes=1, sha256="0" * 64)
    assert tree.matches("a/b.jpg")
    for name in ("b.jpg", "a/b/c.jpg", "a/b.png"):
        assert not tree.matches(name)


def test_importing_assets_does_not_import_torch():
    code = "import sys, tlcourse.assets; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
