"""Figures that everyone can read: alt text, contrast, colours, sharp and small."""

from __future__ import annotations

import base64
import io
import itertools
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from IPython.utils.capture import capture_output
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from PIL import Image

from tlcourse.lesson import figures, style
from tlcourse.lesson.session import Lesson

ALT = 'Loss & steps: "both zero" <stays> flat.'

# Linear RGB as it is seen without one kind of cone (Machado, Oliveira and Fernandes 2009, severity 1).
SIGHT = {
    "all": np.eye(3),
    "no red": np.array([[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]]),
    "no green": np.array([[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]]),
    "no blue": np.array([[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]]),
}


@pytest.fixture(autouse=True)
def look() -> None:
    plt.switch_backend("agg")
    style.use()


def plot() -> Figure:
    fig, ax = plt.subplots()
    style.band(ax, [1, 2, 3], [1, 2, 3], [0, 1, 2], [2, 3, 4], "a line")
    return fig


def shown(fig: Figure, *, alt: str = ALT, width: int | None = None):
    with capture_output() as outputs:
        Lesson("05_lora").show(fig, alt=alt, width=width)
    (output,) = outputs.outputs
    return output


def picture(data: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(data)))


def test_alt_text_reaches_every_form_of_the_output() -> None:
    output = shown(plot())
    assert 'alt="Loss &amp; steps: &quot;both zero&quot; &lt;stays&gt; flat."' in output.data["text/html"]
    assert output.metadata["tlcourse"]["alt"] == ALT
    assert output.metadata["image/png"]["alt"] == ALT
    assert ALT in output.data["text/plain"]


def test_figure_is_sharp_opaque_and_as_wide_as_asked() -> None:
    output = shown(plot())
    image = picture(output.data["image/png"])
    assert image.size == (round(720 * style.SHARPNESS), round(400 * style.SHARPNESS))
    assert image.mode in ("P", "RGB"), "no transparency: it must not show a dark page"
    assert image.convert("RGB").getpixel((0, 0)) == pytest.approx((253, 253, 251), abs=1)
    assert 'width="720"' in output.data["text/html"]
    assert re.search(r"base64,([^\"]+)", output.data["text/html"])[1] == output.data["image/png"]
    assert 'width="300"' in shown(plot(), width=300).data["text/html"]


def test_transparent_figure_gets_the_panel() -> None:
    fig = plot()
    fig.patch.set_alpha(0)
    assert Image.open(io.BytesIO(figures.png(fig, small=False))).getpixel((0, 0)) == (253, 253, 251)
    plt.close(fig)


def test_figure_is_closed_and_not_shown_twice() -> None:
    fig = plot()
    shown(fig)
    assert fig.number not in plt.get_fignums()


def test_line_plots_are_small_and_photographs_keep_their_colours() -> None:
    line = plot()
    assert len(figures.png(line)) < len(figures.png(line, small=False)) / 2
    fig, ax = plt.subplots()
    ax.imshow(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8), interpolation="none")
    figures.png(fig)  # the layout settles at the first drawing
    exact, kept = (np.asarray(Image.open(io.BytesIO(figures.png(fig, small=s))).convert("RGB")) for s in (False, True))
    assert np.array_equal(exact, kept)
    plt.close("all")


@pytest.mark.parametrize("alt", ["", "   ", "Figure 1", "A plot of the loss.", "loss/accuracy/steps/rank/alpha", None])
def test_alt_text_that_tells_nothing_is_refused(alt: object) -> None:
    with pytest.raises(ValueError, match="does not describe the figure"):
        figures.check_alt(alt)


@given(st.lists(st.text("abc", min_size=4, max_size=9), min_size=4, max_size=30))
def test_alt_text_of_enough_words_is_kept(words: list[str]) -> None:
    text = " ".join(words)
    if len(text) >= 20:
        assert figures.check_alt(f"  {text}\n") == text


def linear(colour: str) -> np.ndarray:
    rgb = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def contrast(first: str, second: str) -> float:
    light = sorted(linear(colour) @ [0.2126, 0.7152, 0.0722] for colour in (first, second))
    return (light[1] + 0.05) / (light[0] + 0.05)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIE L*a*b* of linear RGB."""
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ rgb.clip(0, 1)
    x, y, z = np.cbrt(xyz / [0.9505, 1.0, 1.089])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("name", style.palette)
def test_colours_stand_out_from_the_panel(name: str) -> None:
    assert contrast(style.palette[name], style.PANEL) >= 3


def test_text_stands_out_from_the_panel() -> None:
    assert contrast(style.INK, style.PANEL) >= 7


@pytest.mark.parametrize("sight", SIGHT)
def test_colours_differ_for_every_kind_of_sight(sight: str) -> None:
    seen = {name: lab(SIGHT[sight] @ linear(colour)) for name, colour in style.palette.items()}
    gaps = {
        pair: np.linalg.norm(seen[pair[0]] - seen[pair[1]]) for pair in itertools.combinations(list(style.palette), 2)
    }
    assert min(gaps.values()) >= 15, sorted(gaps.items(), key=lambda item: item[1])[:3]


def test_line_patterns_repeat_what_colours_say() -> None:
    fig, ax = plt.subplots()
    lines = [ax.plot([0, 1])[0] for _ in range(5)]
    assert len({line.get_color() for line in lines}) == 5
    assert len({str(line.get_linestyle()) + str(line._dash_pattern) for line in lines}) == 5
    plt.close(fig)


def test_band_draws_mean_and_interval_in_one_colour() -> None:
    fig, ax = plt.subplots()
    colour = style.band(ax, [1, 2], [5, 6], [4, 5], [6, 8], "a")
    assert ax.lines[0].get_color() == colour
    assert ax.lines[0].get_label() == "a"
    area = ax.collections[0].get_paths()[0].get_extents()
    assert (area.ymin, area.ymax) == (4, 8)
    plt.close(fig)


@pytest.mark.parametrize(
    ("low", "high", "message"), [([1], [3, 3], "shapes are"), ([3, 3], [1, 1], "are low and high swapped")]
)
def test_band_refuses_what_is_no_interval(low: list[float], high: list[float], message: str) -> None:
    fig, ax = plt.subplots()
    with pytest.raises(ValueError, match=message):
        style.band(ax, [1, 2], [2, 2], low, high, "a")
    plt.close(fig)
