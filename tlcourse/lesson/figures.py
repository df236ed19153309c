"""A figure as a page element that everyone can read.

JupyterLab and nbconvert drop the alt text that an output's metadata may carry, and MyST-NB has one only per cell. All
three keep an `<img alt="…">` in HTML, in trusted and untrusted notebooks alike. So a figure is HTML first; the same
PNG beside it is for exports to PDF, and the text for consoles.
"""

from __future__ import annotations

import base64
import html
import io

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from tlcourse.lesson.style import DPI, PANEL, SHARPNESS

_SHORTEST_ALT = 20  # characters
_PANEL_CSS = "max-width:100%;height:auto;border-radius:6px"


def check_alt(alt: object) -> str:
    """`alt` without surrounding blanks; ValueError if it cannot describe a figure."""
    text = " ".join(alt.split()) if isinstance(alt, str) else ""
    if len(text) < _SHORTEST_ALT or len(text.split()) < 4:
        raise ValueError(
            f"alt={alt!r} does not describe the figure: say in a sentence what is plotted and what one sees, "
            'as in "Accuracy against labels: the frozen network stays above the new one."'
        )
    return text


def png(fig: Figure, *, small: bool = True) -> bytes:
    """The figure as PNG; `small` reduces it to 256 colours where nobody can see the difference."""
    full = _picture(fig)
    out = io.BytesIO()
    if not small:
        full.save(out, format="PNG", compress_level=1)
        return out.getvalue()
    reduced = full.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    gap = np.abs(np.asarray(full, dtype=np.int16) - np.asarray(reduced.convert("RGB"), dtype=np.int16)).max(axis=2)
    (reduced if (gap > 12).mean() < 1e-3 else full).save(out, format="PNG", optimize=True)
    return out.getvalue()


def _picture(fig: Figure) -> Image.Image:
    """The drawn figure. `savefig` would do the layout twice, which an explorer has no time for."""
    canvas, dpi = FigureCanvasAgg(fig), fig.dpi
    fig.set_dpi(DPI * SHARPNESS)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())
    fig.set_dpi(dpi)
    ground = Image.new("RGBA", (pixels.shape[1], pixels.shape[0]), PANEL)
    return Image.alpha_composite(ground, Image.fromarray(pixels)).convert("RGB")


def img(image: bytes, alt: str, width: int) -> str:
    """An `<img>` of `image` with its alt text, `width` CSS pixels wide where there is room."""
    source = base64.b64encode(image).decode()
    return f'<img alt="{html.escape(alt)}" width="{width}" style="{_PANEL_CSS}" src="data:image/png;base64,{source}">'


def width_of(fig: Figure) -> int:
    """Natural width of the figure on the page, in CSS pixels."""
    return round(float(fig.get_figwidth()) * DPI)


def show(fig: Figure, *, alt: str, width: int | None = None) -> None:
    """Display the figure with its alt text and close it."""
    from IPython.display import display

    text = check_alt(alt)
    image, wide = png(fig), width or width_of(fig)
    bundle = {
        "text/html": img(image, text, wide),
        "image/png": base64.b64encode(image).decode(),
        "text/plain": f"[figure: {text}]",
    }
    metadata = {"image/png": {"alt": text, "width": wide}, "tlcourse": {"alt": text}}
    display(bundle, raw=True, metadata=metadata)
    plt.close(fig)
