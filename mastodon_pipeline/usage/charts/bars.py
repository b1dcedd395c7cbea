"""Horizontal bars with their counts, as several pictures have them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from mastodon_pipeline.usage.charts.drawing import draw_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from PIL.Image import Image


BLUE = "#0173b2"
"""The first of seaborn's colour-blind palette."""


class Bar(NamedTuple):
    """A horizontal bar."""

    name: str
    length: int
    grey: bool = False


def draw_bars(title: str, bars: Sequence[Bar]) -> "Image":
    """Draw horizontal bars with their counts, without empty ones."""
    import seaborn as sns

    bars = [bar for bar in bars if bar.length]

    def paint(axes: "Axes") -> None:
        places = [str(place) for place in range(len(bars))]  # two labels may be the same
        sns.barplot(x=[bar.length for bar in bars], y=places, orient="h", color=BLUE, ax=axes)
        for bar, patch in zip(bars, list(axes.patches), strict=True):
            if bar.grey:
                patch.set_facecolor("0.7")
        axes.bar_label(
            axes.containers[0],  # type: ignore[arg-type]
            [f"{bar.length:,}" for bar in bars],
            padding=3,
            fontsize="small",
        )
        axes.set_yticks(range(len(bars)), [bar.name for bar in bars], fontsize="small")
        axes.margins(x=0.14)
        axes.set(xlabel="Toots", ylabel="")
        axes.xaxis.set_major_formatter("{x:,.0f}")

    return draw_figure(title, paint if bars else None, height=height_of(len(bars)))


def height_of(bars: int) -> float:
    """Return the height, in inches, of a picture with N horizontal bars."""
    return 1.6 + 0.26 * max(bars, 6)
