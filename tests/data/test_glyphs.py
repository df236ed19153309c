"""Glyphs: real letters only, distinct shapes, scripts held out."""

from __future__ import annotations

import unicodedata
from importlib import import_module

import pytest
import torch

from tlcourse import data

glyphs = import_module("tlcourse.data.glyphs")


def test_every_letter_is_in_its_font_and_has_ink():
    letters = data.glyphs()
    fonts = glyphs._fonts()
    for label, font in zip(letters.labels.tolist(), letters.meta["font"], strict=True):
        assert letters.classes[label] in fonts[font]["letters"]
    ink = (letters.pixels > 60).sum((1, 2, 3))
    assert ink.min() >= 20
    assert letters.pixels.amax((1, 2, 3)).min() > 150
    assert (letters.pixels[:, 0, [0, 0, -1, -1], [0, -1, 0, -1]] > 128).float().mean() < 0.01


def test_no_letter_is_the_box_of_a_missing_character():
    box = glyphs._draw("\U0010ffff", glyphs._fonts()["DejaVuSans"]["path"], 28)
    letters = data.glyphs()
    assert box.any()
    assert (letters.pixels[:, 0] == box).all((1, 2)).sum() == 0


def test_nothing_touches_the_border():
    pixels = data.glyphs().pixels[:, 0]
    border = torch.cat([pixels[:, 0], pixels[:, -1], pixels[:, :, 0], pixels[:, :, -1]], 1)
    assert int(border.max()) == 0


def test_scripts_are_held_out_and_shapes_are_not_shared():
    train, test = data.glyphs(part="train"), data.glyphs(part="test")
    assert set(train.meta["script"]) == set(glyphs.TRAIN_SCRIPTS)
    assert set(test.meta["script"]) == set(glyphs.HELD_OUT_SCRIPTS)
    assert not set(train.classes) & set(test.classes)
    assert (train.n_classes, test.n_classes) == (861, 205)
    assert len(train) + len(test) == len(data.glyphs())
    fonts = glyphs._fonts()
    for font in ("DejaVuSans", "DejaVuSerif-Italic"):
        path, has = fonts[font]["path"], fonts[font]["letters"]
        shapes = [
            torch.stack([glyphs._shape(c, path) for c in part.classes[::3] if c in has]) for part in (train, test)
        ]
        assert (shapes[0] @ shapes[1].T).max() <= glyphs.SAME_SHAPE


def test_each_letter_has_several_drawings_that_differ():
    letters = data.glyphs()
    assert set(letters.counts().values()) == {4, 8, 12}
    assert len({picture.numpy().tobytes() for picture in letters.pixels}) == len(letters)
    for c, name in zip(letters.labels[::37].tolist(), letters.meta["name"][::37], strict=True):
        assert unicodedata.name(letters.classes[c]) == name


def test_a_choice_of_scripts():
    some = data.glyphs(("greek-lower", "hebrew"))
    assert set(some.meta["script"]) == {"greek-lower", "hebrew"}
    assert "α" in some.classes
    assert min(some.counts().values()) >= glyphs.FEWEST_FONTS
    assert set(data.glyphs("hebrew", part="test").meta["script"]) == {"hebrew"}


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"scripts": ("hebrw",)}, KeyError, "Did you mean 'hebrew'"),
        ({"scripts": ("hebrew",), "part": "train"}, ValueError, "nothing in part='train'"),
        ({"part": "both"}, KeyError, "all, train, test"),
        ({"size": 5}, ValueError, "12 … 256"),
    ],
)
def test_wrong_arguments(change, error, message):
    with pytest.raises(error, match=message):
        data.glyphs(**change)
