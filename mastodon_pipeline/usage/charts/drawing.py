"""What all pictures share: paper, title, size, and labels that strangers wrote.

A picture is small enough for a phone and for the UI's dialog, opaque and light, so that it is also
readable in dark mode, and in colours that the colour-blind can tell apart.
"""

import base64
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from PIL.Image import Image


# matplotlib, pandas and Pillow are imported where something is drawn: at a module's head they would
# cost every load of the code a second.


def draw_figure(
    title: str, paint: "Callable[[Axes], object] | None", height: float = 4.2
) -> "Image":
    """Draw a picture, 720 pixels wide and `height` inches (of 120 pixels) high.

    `paint` puts the figures on the axes; if None, the picture says that there are no toots. It has
    64 colours: as a PNG a third of the size, some 20 kB, which Dagster's log has to keep.
    """
    import seaborn as sns
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    with sns.axes_style("whitegrid"), sns.plotting_context("notebook"):
        # A figure that pyplot does not know: nothing is kept once it is drawn.
        figure = Figure(figsize=(6, height), dpi=120, layout="constrained", facecolor="white")
        canvas = FigureCanvasAgg(figure)
        axes = figure.subplots()
        if paint:
            paint(axes)
        else:
            axes.text(0.5, 0.5, "no toots seen on this day", ha="center", va="center")
            axes.set(xticks=[], yticks=[])
        axes.set_title(title, fontsize="medium", loc="left")
        canvas.draw()  # type: ignore[no-untyped-call]
    pixels = canvas.buffer_rgba()  # type: ignore[no-untyped-call]
    picture = Image.frombuffer("RGBA", canvas.get_width_height(), pixels).convert("RGB")
    return picture.quantize(64, dither=Image.Dither.NONE)


def encode_png(picture: "Image", texts: Mapping[str, str]) -> bytes:
    """Return the picture as a PNG with these texts in it, which no viewer shows."""
    from PIL.PngImagePlugin import PngInfo

    chunks, png = PngInfo(), BytesIO()
    for name, text in texts.items():
        chunks.add_text(name, text)
    picture.save(png, "PNG", optimize=True, pnginfo=chunks)
    return png.getvalue()


def png_texts(png: bytes) -> Mapping[str, str]:
    """Return the texts in a PNG; none if it is no PNG."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(BytesIO(png), formats=["PNG"]) as picture:
            return {str(name): text for name, text in picture.info.items() if isinstance(text, str)}
    except UnidentifiedImageError:
        return {}


def label(text: str, longest: int = 24) -> str:
    """Turn a stranger's text into a label: one line, no formula, only characters with a glyph."""
    from matplotlib.font_manager import findfont, get_font

    drawable = get_font(findfont("DejaVu Sans")).get_charmap()  # the font that matplotlib brings
    line = "".join(c if ord(c) in drawable else "□" for c in " ".join(text.split()))
    short = line if len(line) <= longest else line[: longest - 1] + "…"
    return short.replace("$", r"\$")


def as_markdown(png: bytes, alternative: str) -> str:
    """Return the picture itself as Markdown, so that the UI shows it without the bucket's keys."""
    return f"![{alternative}](data:image/png;base64,{base64.b64encode(png).decode()})"
