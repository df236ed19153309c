"""Controls beside a figure that follows them.

The figure is redrawn from results that the lesson has computed already, in well under 0.2 s; frames seen before come
from memory. Where no Python runs (saved notebooks, web pages) the first frame stays.
"""

from __future__ import annotations

import html
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from tlcourse.lesson import figures

# ipywidgets gives a slider no name and announces the position of its value. The loading image puts in both.
_NAME_SLIDERS = (
    "this.closest('.widget-vbox')?.querySelectorAll('.widget-slider').forEach(box=>{"
    "const of=part=>box.querySelector(part)?.textContent.trim()??'';"
    "box.querySelectorAll('[role=slider]').forEach(handle=>{"
    "handle.setAttribute('aria-label',of('.widget-label'));"
    "handle.setAttribute('aria-valuetext',of('.widget-readout'))})})"
)


def show(draw: Callable[..., Figure], *, alt: str, controls: Mapping[str, object], start: Mapping[str, object]) -> None:
    """Display an explorer.

    `draw` takes the controls by name and returns a figure. A control is given by its choices: a range or a sequence of
    numbers is a slider, a sequence of strings a row of buttons, a bool a box to tick, a string a text to edit; any
    ipywidgets widget with a value serves too. `start` names first values, `alt` may mention values as in
    "Accuracy at {labels} labels".
    """
    from IPython.display import display

    explorer = Explorer(draw, alt=alt, controls=controls, start=start)
    view = explorer.box._repr_mimebundle_()
    text = f"[figure with controls: {explorer.alt()}]"
    display(
        {**view, "text/html": explorer.still(), "text/plain": text},
        raw=True,
        metadata={"tlcourse": {"alt": explorer.alt()}},
    )


class Explorer:
    """Widgets, the figure of their values and the seconds that the last redrawing took."""

    def __init__(
        self, draw: Callable[..., Figure], *, alt: str, controls: Mapping[str, object], start: Mapping[str, object]
    ) -> None:
        import ipywidgets

        if not controls:
            raise ValueError("controls is empty: an explorer needs at least one control")
        if unknown := set(start) - set(controls):
            raise KeyError(f"start names {sorted(unknown)}, but the controls are {list(controls)}")
        self._draw, self._alt, self.seconds = draw, alt, 0.0
        self._frames: dict[str, str] = {}
        self.controls = {name: _widget(name, choices, start.get(name)) for name, choices in controls.items()}
        self.frame = ipywidgets.HTML(value=self._live())  # an error in the first frame is an error of the cell
        for widget in self.controls.values():
            widget.observe(self._follow, names="value")
        self.box = ipywidgets.VBox([*self.controls.values(), self.frame])

    def values(self) -> dict[str, Any]:
        """The values of the controls by name."""
        return {name: widget.value for name, widget in self.controls.items()}

    def alt(self) -> str:
        """The text that stands for the figure at these values."""
        return figures.check_alt(self._alt.format(**self.values()))

    def still(self) -> str:
        """The figure at these values, for pages without Python."""
        return self._html()

    def _follow(self, _change: object) -> None:
        try:
            self.frame.value = self._live()
        except Exception as error:
            self.frame.value = f'<pre role="alert">{html.escape(f"{type(error).__name__}: {error}")}</pre>'

    def _live(self) -> str:
        return self._html().replace("<img ", f'<img onload="{_NAME_SLIDERS}" ', 1)

    def _html(self) -> str:
        began, key = time.perf_counter(), repr(self.values())
        if key not in self._frames:
            fig = self._draw(**self.values())
            self._frames[key] = figures.img(figures.png(fig, small=False), self.alt(), figures.width_of(fig))
            plt.close(fig)
        self.seconds = time.perf_counter() - began
        return self._frames[key]


def _widget(name: str, choices: object, first: object) -> Any:
    """The control called `name` for `choices`; ValueError for choices that make none."""
    import ipywidgets

    label = name.replace("_", " ")
    given: dict[str, Any] = {"description": label, "style": {"description_width": "initial"}}
    if first is not None:
        given["value"] = first
    if isinstance(choices, ipywidgets.Widget) and hasattr(choices, "value"):
        return choices
    if isinstance(choices, bool):
        return ipywidgets.Checkbox(**{"value": choices, **given})
    if isinstance(choices, str):
        return ipywidgets.Text(**{"value": choices, **given}, continuous_update=False)
    if isinstance(choices, Sequence) and len(choices) > 1 and first in (None, *choices):
        if all(isinstance(choice, str) for choice in choices):
            kind = ipywidgets.ToggleButtons if len(choices) <= 5 else ipywidgets.Dropdown
            return kind(options=list(choices), **given)
        given["layout"] = {"width": "min(100%, 420px)"}
        return ipywidgets.SelectionSlider(options=list(choices), **given)
    raise ValueError(
        f"control {name!r}: give at least two choices (numbers or strings), a bool, a string or a widget, "
        f"and a start among them; got {choices!r} and start {first!r}"
    )
