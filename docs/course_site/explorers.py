"""Explorers as plain HTML: native controls and a picture, which `_static/course.js` exchanges."""

from __future__ import annotations

import html
import json
from typing import Any

BUTTONS = 5  # more choices than these become a list


def page(frames: dict[str, Any], *, folder: str, name: str) -> str:
    """The explorer with the `frames` of `tlcourse.lesson.frames`; `folder` is where a page finds the pictures."""
    controls, start = frames["controls"], frames["start"]
    sizes = [len(control["choices"]) for control in controls]
    place = 0
    for size, index in zip(sizes, start, strict=True):
        place = place * size + index
    file, alt, width = frames["frames"][place]
    data = html.escape(json.dumps({"folder": folder, "sizes": sizes, "frames": frames["frames"]}, ensure_ascii=False))
    parts = [
        _control(control, index, f"{name}-{control['name']}") for control, index in zip(controls, start, strict=True)
    ]
    note = (
        "Every choice of the lesson's own explorer is here."
        if frames["all"]
        else ("Some of the choices are here, drawn beforehand; run the lesson for all of them.")
    )
    return (
        f'<div class="explorer" role="group" aria-label="Explorer" data-explorer="{data}">\n{"".join(parts)}'
        f'<img class="explorer-frame" alt="{html.escape(alt)}" width="{width}" src="{folder}/{file}">\n'
        f'<p class="explorer-note">{note}</p></div>'
    )


def _control(control: dict[str, Any], start: int, name: str) -> str:
    label, choices = html.escape(control["label"]), [html.escape(_shown(choice)) for choice in control["choices"]]
    if len(choices) == 1:
        return f'<p class="explorer-control" data-fixed>{label}: {choices[0]}</p>\n'
    if control["kind"] == "slider":
        words = html.escape(json.dumps([_shown(choice) for choice in control["choices"]], ensure_ascii=False))
        return (
            f'<div class="explorer-control"><label for="{name}">{label}</label>'
            f'<input id="{name}" type="range" min="0" max="{len(choices) - 1}" step="1" value="{start}" '
            f'data-words="{words}" aria-valuetext="{choices[start]}">'
            f'<output for="{name}">{choices[start]}</output></div>\n'
        )
    if len(choices) > BUTTONS or max(map(len, choices)) > 30:
        options = "".join(
            f'<option value="{i}"{" selected" if i == start else ""}>{choice}</option>'
            for i, choice in enumerate(choices)
        )
        return (
            f'<div class="explorer-control"><label for="{name}">{label}</label>'
            f'<select id="{name}" autocomplete="off">{options}</select></div>\n'
        )
    radios = "".join(
        f'<label><input type="radio" name="{name}" value="{i}" autocomplete="off"{" checked" if i == start else ""}>'
        f"{choice}</label>"
        for i, choice in enumerate(choices)
    )
    return f'<fieldset class="explorer-control"><legend>{label}</legend>{radios}</fieldset>\n'


def _shown(choice: object) -> str:
    if isinstance(choice, bool):
        return "yes" if choice else "no"
    return str(choice)
