"""How figures look: colours for every kind of sight, on a light panel that is opaque, so that dark pages do not hurt.

Blue and vermillion are those of Okabe and Ito (2008). Their lighter colours fall short of the contrast of 3:1 that WCAG
2.2 asks of graphics, and darkened they are too alike for an eye without one kind of cone; the others were searched for
instead, so that any two differ for every kind of sight (CIE76 of 15 or more). Line patterns repeat what colours say.
"""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

PANEL = "#fdfdfb"
INK = "#222222"
GRID = "#d9d9d4"

palette: dict[str, str] = {
    "blue": "#0072B2",
    "vermillion": "#D55E00",
    "green": "#029C57",
    "purple": "#A43472",
    "brown": "#8A511C",
    "black": "#222222",
}
PATTERNS: tuple[Any, ...] = ("-", (0, (6, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)), (0, (3, 1)), "-")

DPI = 100  # CSS pixels per inch of figure
SHARPNESS = 1.6  # image pixels per CSS pixel


def use() -> None:
    """Set matplotlib up for the lessons."""
    mpl.rcParams.update(
        {
            "figure.figsize": (7.2, 4.0),
            "figure.dpi": DPI,
            "figure.facecolor": PANEL,
            "figure.constrained_layout.use": True,
            "figure.constrained_layout.w_pad": 0.12,
            "figure.constrained_layout.h_pad": 0.12,
            "savefig.facecolor": PANEL,
            "savefig.transparent": False,
            "axes.facecolor": PANEL,
            "axes.edgecolor": INK,
            "axes.labelcolor": INK,
            "axes.labelsize": 12,
            "axes.titlesize": 13,
            "axes.titlelocation": "left",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.axisbelow": True,
            "axes.prop_cycle": cycler(color=list(palette.values())) + cycler(linestyle=list(PATTERNS)),
            "grid.color": GRID,
            "grid.linewidth": 0.8,
            "text.color": INK,
            "xtick.color": INK,
            "ytick.color": INK,
            "xtick.labelsize": 11,
            "ytick.labelsize": 11,
            "font.size": 12,
            "legend.fontsize": 11,
            "legend.frameon": True,
            "legend.facecolor": PANEL,
            "legend.edgecolor": GRID,
            "legend.framealpha": 0.9,
            "lines.linewidth": 2.2,
            "lines.markersize": 7,
            "errorbar.capsize": 3,
            "image.cmap": "cividis",
        }
    )


def band(
    ax: Axes, x: ArrayLike, mean: ArrayLike, low: ArrayLike, high: ArrayLike, label: str, *, color: str | None = None
) -> str:
    """Draw a mean with its interval as a band in `color`, or the next colour; returns the colour.

    Raises ValueError if lengths differ or an interval does not hold its mean.
    """
    places, centre, bottom, top = (np.asarray(values, dtype=float) for values in (x, mean, low, high))
    if not (places.shape == centre.shape == bottom.shape == top.shape == (len(places),)):
        shapes = ", ".join(str(values.shape) for values in (places, centre, bottom, top))
        raise ValueError(f"x, mean, low and high must have one value per point; their shapes are {shapes}")
    if (bottom > centre).any() or (centre > top).any():
        raise ValueError("low <= mean <= high must hold at every point; are low and high swapped?")
    (line,) = ax.plot(places, centre, marker="o", markersize=5, label=label, color=color)
    colour = str(line.get_color())
    ax.fill_between(places, bottom, top, color=colour, alpha=0.18, linewidth=0)
    return colour
