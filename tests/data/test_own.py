"""A reader's own folders and files: what loads, and errors that name file and line."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tlcourse import data


def save(path: Path, colour="red", size=(20, 10), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).convert(mode).save(path)
    return path


@pytest.fixture
def pets(tmp_path):
    for i, colour in enumerate(("red", "lime", "blue", "white")):
        save(tmp_path / "pets" / "cat" / f"{i}.png", colour)
        save(tmp_path / "pets" / "dog" / "more" / f"{i}.jpg", colour, (9, 30))
    return tmp_path / "pets"


def test_a_folder_of_class_folders(pets):
    for litter in (".DS_Store", "cat/.hidden.png", "dog/Thumbs.db", "__MACOSX/cat/0.png", ".ipynb_checkpoints/0.png"):
        (pets / litter).parent.mkdir(parents=True, exist_ok=True)
        (pets / litter).write_bytes(b"no picture")
    (pets / "cat" / ".ipynb_checkpoints").mkdir()
    (pets / "cat" / ".ipynb_checkpoints" / "0.png").write_bytes(b"no picture")
    pictures = data.images(pets, size=16)
    assert pictures.name == "pets"
    assert pictures.classes == ("cat", "dog")
    assert pictures.pixels.shape == (8, 3, 16, 16)
    assert pictures.meta["file"][:4] == ("cat/0.png", "cat/1.png", "cat/2.png", "cat/3.png")
    assert pictures.meta["file"][4] == "dog/more/0.jpg"
    assert pictures.pixels[0, :, 8, 8].tolist() == [255, 0, 0]
    assert pictures.pixels[1, :, 8, 8].tolist() == [0, 255, 0]


def test_own_data_goes_through_every_method(pets):
    pictures = data.images(pets, size=16)
    first, second = pictures.split(0.5, 0)
    assert len(first) + len(second) == 8
    assert pictures.few(2, 0).counts() == {"cat": 2, "dog": 2}
    assert pictures.where(pictures.labels == 1).relabel("file").n_classes == 4
    assert len(pictures.fingerprint()) == 64


@pytest.mark.parametrize(
    ("mode", "suffix", "wanted"),
    [
        ("L", "png", (76, 76, 76)),
        ("1", "png", None),
        ("P", "gif", (255, 0, 0)),
        ("CMYK", "jpg", (254, 0, 0)),
        ("RGBA", "png", (255, 0, 0)),
        ("LA", "png", (76, 76, 76)),
        ("I;16", "png", None),
    ],
)
def test_every_mode_becomes_rgb(tmp_path, mode, suffix, wanted):
    if mode == "I;16":
        (tmp_path / "d" / "a").mkdir(parents=True)
        Image.fromarray(np.full((12, 12), 32896, np.uint16)).save(tmp_path / "d" / "a" / "x.png")
        wanted = (128, 128, 128)
    else:
        save(tmp_path / "d" / "a" / f"x.{suffix}", mode=mode)
    pixel = data.images(tmp_path / "d", size=8).pixels[0, :, 4, 4].tolist()
    if wanted:
        assert max(abs(p - w) for p, w in zip(pixel, wanted, strict=True)) <= 2


@pytest.mark.parametrize("mode", ["RGBA", "P"])
def test_transparent_parts_become_white(tmp_path, mode):
    (tmp_path / "a").mkdir()
    clear = Image.new("RGBA", (10, 10), (0, 0, 0, 0))
    if mode == "P":
        clear = clear.convert("P")
        clear.info["transparency"] = clear.getpixel((0, 0))
    clear.save(tmp_path / "a" / "x.png")
    assert data.images(tmp_path, size=8).pixels.unique().tolist() == [255]


def test_exif_turns_and_the_middle_is_kept(tmp_path):
    (tmp_path / "a").mkdir()
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, :10, 0], wide[:, 10:20, 1], wide[:, 20:, 2] = 255, 255, 255
    Image.fromarray(wide).save(tmp_path / "a" / "1.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90° clockwise
    Image.fromarray(wide[:10, :20]).save(tmp_path / "a" / "2.png", exif=exif)
    plain, turned = data.images(tmp_path, size=10).pixels
    assert plain[:, 5, 5].tolist() == [0, 255, 0]
    assert plain[0].max() == plain[2].max() == 0
    assert turned[0, 1, 5] > 200, "red, on the left in the file, is on top"
    assert turned[1, 8, 5] > 200


def test_identical_pictures_stay_together(tmp_path):
    for i in range(6):
        save(tmp_path / "a" / f"{i}.png", "red")
        save(tmp_path / "b" / f"{i}.png", (0, 0, 40 * i))
    pictures = data.images(tmp_path, size=8)
    assert pictures.groups.tolist() == [0] * 6 + list(range(6, 12))
    first, second = pictures.split(0.5, 0)
    assert not set(first.groups.tolist()) & set(second.groups.tolist())


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda d: (d / "dog" / "bad.jpg").write_text("no"), r"dog/bad\.jpg is no readable picture"),
        (
            lambda d: (d / "cat" / "1.png").write_bytes((d / "cat" / "1.png").read_bytes()[:45]),
            r"cat/1\.png is no read",
        ),
        (lambda d: (d / "cat" / "0.png").write_bytes(b""), r"cat/0\.png is no readable"),
        (lambda d: (d / "bird").mkdir(), "bird is empty: class 'bird' has no pictures"),
        (lambda d: save(d / "stray.png"), r"outside of any class \(stray\.png\)"),
    ],
)
def test_folder_errors_name_the_file(pets, spoil, message):
    spoil(pets)
    with pytest.raises(ValueError, match=message):
        data.images(pets, size=16)


def test_folder_errors_without_classes(tmp_path):
    with pytest.raises(ValueError, match="no class folders; put each picture into a sub-folder"):
        data.images(tmp_path)
    with pytest.raises(FileNotFoundError, match="no folder; check the name"):
        data.images(tmp_path / "absent")
    with pytest.raises(ValueError, match="8 … 1024"):
        data.images(tmp_path, size=2)


def write(tmp_path, content, name="reviews.csv", encoding="utf-8"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return path


def test_a_csv_of_texts(tmp_path):
    content = 'stars,id,review\r\n10,a,"Good, ""very"" good\nindeed"\r\n\r\n2,b,Bad\r\n2,c,Bad\r\n'
    reviews = data.texts(write(tmp_path, content), text="review", label="stars")
    assert reviews.texts == ('Good, "very" good\nindeed', "Bad", "Bad")
    assert reviews.classes == ("2", "10")
    assert reviews.labels.tolist() == [1, 0, 0]
    assert reviews.meta["line"] == ("2", "5", "6")
    assert reviews.groups.tolist() == [0, 1, 1]
    assert reviews.name == "reviews"


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
def test_separators_and_encodings(tmp_path, separator, encoding):
    path = write(tmp_path, f"text{separator}label\ncafé{separator}good\n", encoding=encoding)
    given = encoding if encoding in ("cp1252", "utf-16") else None
    assert data.texts(path, encoding=given).texts == ("café",)


def test_a_jsonl_of_texts(tmp_path):
    lines = [{"text": "Good", "label": True, "extra": [1]}, {"text": "Bad", "label": False}]
    path = write(tmp_path, "\n\n".join(map(json.dumps, lines)) + "\n", "reviews.jsonl")
    reviews = data.texts(path)
    assert (reviews.texts, reviews.classes) == (("Good", "Bad"), ("False", "True"))
    assert reviews.meta["line"] == ("1", "3")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("review,label\nGood,1\n", r"line 1: no column 'text'; there are 'review', 'label'; pass text='…'"),
        ("text,stars\nGood,1\n", "no column 'label'; there are 'text', 'stars'; pass label="),
        ("text,label\nGood,1\nBad,\n", "line 3: 'label' is empty"),
        ("text,label\n  ,1\n", "line 2: 'text' is empty"),
        ("text,label\nGood\n", "line 2: 1 fields, but the header has 2 columns"),
        ("text,label\nGood, really,1\n", "line 2: 3 fields.*quotation marks"),
        ('text,label\nGood,1\n"Bad,0\nAwful,0\n', "line 3: not valid CSV"),
        ("", "is empty; the first line must name the columns"),
        ("text,label\n", "no rows below the header"),
        (b"text,label\nGood,1\n\xe9t\xe9,1\n", r"line 3: 'été,1' is not UTF-8; pass encoding='cp1252'"),
        ("text,label\nCafé,1\n".encode() + b"\xe9t\xe9,1\n", "line 3: .*other lines are: the file mixes encodings"),
        ("text,label\nGood,1\n".encode("utf-16"), "UTF-16; pass encoding='utf-16'"),
        (b"text,label\nGo\x00od,1\n", "line 2: a zero byte"),
    ],
)
def test_csv_errors_name_file_and_line(tmp_path, content, message):
    with pytest.raises(ValueError, match=r"reviews\.csv.*" + message):
        data.texts(write(tmp_path, content))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"text": "a", "label": 1}\n{"text": "b" "label": 1}', "line 2: not valid JSON"),
        ('["a", 1]', "line 1: a JSON object was expected, not a list"),
        ('{"text": "a", "label": 1}\n{"text": "b"}', "line 2: no column 'label'; there are 'text'"),
        ('{"text": "a", "label": null}', "line 1: 'label' is empty"),
        ('{"text": null, "label": 1}', "line 1: 'text' is empty"),
        ('{"text": 3, "label": 1}', "line 1: 'text' must be a text, not a int"),
        ('{"text": "a", "label": [1]}', "line 1: 'label' must be one name or number"),
    ],
)
def test_jsonl_errors_name_file_and_line(tmp_path, content, message):
    with pytest.raises(ValueError, match=r"reviews\.jsonl, " + message):
        data.texts(write(tmp_path, content, "reviews.jsonl"))


def test_other_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.csv is no file"):
        data.texts(tmp_path / "absent.csv")
    with pytest.raises(ValueError, match=r"must end in \.csv"):
        data.texts(write(tmp_path, "text", "reviews.xlsx"))
    with pytest.raises(ValueError, match="encoding='klingon' is unknown"):
        data.texts(write(tmp_path, "text,label\na,1\n"), encoding="klingon")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.text(), st.text()), min_size=1, max_size=5), st.sampled_from(["csv", "jsonl"]))
def test_written_rows_come_back_or_the_line_is_named(tmp_path, rows, suffix):
    path = tmp_path / f"any.{suffix}"
    with path.open("w", encoding="utf-8", errors="surrogatepass", newline="") as file:
        if suffix == "csv":
            csv.writer(file, quoting=csv.QUOTE_ALL).writerows([("text", "label"), *rows])
        else:
            file.writelines(json.dumps({"text": t, "label": n}) + "\n" for t, n in rows)
    filled = [(t, n) for t, n in rows if suffix == "jsonl" or t.strip() or n.strip()]  # CSV: an empty line is skipped
    if not filled or any(not t.strip() or not n.strip() or ("\0" in t + n and suffix == "csv") for t, n in filled):
        with pytest.raises(ValueError, match=rf"any\.{suffix}(, line \d+:| has no rows)"):
            data.texts(path)
        return
    loaded = data.texts(path)
    assert loaded.texts == tuple(t.strip() for t, _ in filled)
    assert [loaded.classes[i] for i in loaded.labels.tolist()] == [n.strip() for _, n in filled]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(st.binary(max_size=60), st.sampled_from(["csv", "jsonl"]))
def test_any_bytes_load_or_name_the_file(tmp_path, raw, suffix):
    path = tmp_path / f"any.{suffix}"
    path.write_bytes(raw)
    with pytest.raises(ValueError, match=rf"any\.{suffix}"):
        data.texts(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_no_picture(tmp_path, raw):
    (tmp_path / "a").mkdir(exist_ok=True)
    (tmp_path / "a" / "x.png").write_bytes(raw)
    with pytest.raises(ValueError, match=r"a/x\.png is no readable picture"):
        data.images(tmp_path)
