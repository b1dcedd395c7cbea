"""What all pictures share: paper, title, size, and labels that strangers wrote.

A picture is small enough for a phone and for the UI's dialog, opaque and light, so that it also
reads in dark mode, and in colours that the colour-blind tell apart.
"""

import base64
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes


# matplotlib and pandas are imported where something is drawn: at a module's head they would cost
# every load of the code a second.


def drawn(title: str, paint: "Callable[[Axes], object] | None", height: float = 4.2) -> bytes:
    """A PNG of some 20 kB, 720 pixels wide and `height` inches (of 120 pixels) high.

    `paint` puts the figures on the axes; None says in their place that there are no toots.
    """
    import seaborn as sns
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with sns.axes_style("whitegrid"), sns.plotting_context("notebook"):
        # A figure of its own, not pyplot's: nothing is kept once it is drawn.
        figure = Figure(figsize=(6, height), dpi=120, layout="constrained", facecolor="white")
        canvas = FigureCanvasAgg(figure)
        axes = figure.subplots()
        if paint:
            paint(axes)
        else:
            axes.text(0.5, 0.5, "no toots seen on this day", ha="center", va="center")
            axes.set(xticks=[], yticks=[])
        axes.set_title(title, fontsize="medium", loc="left")
        png = BytesIO()
        canvas.print_png(png)  # type: ignore[no-untyped-call]
    return _with_palette(png)


def label(text: str, longest: int = 24) -> str:
    """A stranger's text as a label: one line, no formula, and only characters that can be drawn."""
    from matplotlib.font_manager import findfont, get_font

    drawable = get_font(findfont("DejaVu Sans")).get_charmap()  # the font that matplotlib brings
    line = "".join(c if ord(c) in drawable else "□" for c in " ".join(text.split()))
    short = line if len(line) <= longest else line[: longest - 1] + "…"
    return short.replace("$", r"\$")


def as_markdown(png: bytes, alternative: str) -> str:
    """The picture itself as Markdown, so that the UI shows it without the bucket's keys."""
    return f"![{alternative}](data:image/png;base64,{base64.b64encode(png).decode()})"


def with_texts(png: bytes, texts: Mapping[str, str]) -> bytes:
    """The same picture with these texts in it, which no viewer shows."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    chunks, out = PngInfo(), BytesIO()
    for name, text in texts.items():
        chunks.add_text(name, text)
    with Image.open(BytesIO(png)) as picture:
        picture.save(out, "PNG", optimize=True, pnginfo=chunks)
    return out.getvalue()


def texts_in(png: bytes) -> Mapping[str, str]:
    """The texts in a picture; none where it is no PNG."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(BytesIO(png), formats=["PNG"]) as picture:
            return {str(name): text for name, text in picture.info.items() if isinstance(text, str)}
    except UnidentifiedImageError:
        return {}


def _with_palette(png: BytesIO) -> bytes:
    """The same picture in 64 colours: a third of the size, which Dagster's log has to keep."""
    from PIL import Image

    out = BytesIO()
    with Image.open(png) as picture:
        flat = picture.convert("RGB").quantize(64, dither=Image.Dither.NONE)
        flat.save(out, "PNG", optimize=True)
    return out.getvalue()
