"""What all figures share: empty axes, colours, legends that cover nothing, and files."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mopo_env._utils.store import write_file
from mopo_env.errors import StoreError, require_extra

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which can be told apart with any kind of colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#5B3A8C", "#6B6B6B")
GREY = "#595959"


def new_figure(
    columns: int = 1, *, width: float = 7.0, height: float = 4.2, heights: Sequence[float] = ()
) -> tuple[Figure, list[Axes]]:
    """Return an empty figure with axes side by side, or with one above the other.

    Args:
        columns: Number of axes side by side.
        width: In inches.
        height: In inches.
        heights: Instead of columns and height: the height of each of several axes, each in a part of its own.

    Raises:
        MissingExtraError: If matplotlib is not installed.
    """
    require_extra("matplotlib", "plots")
    # The object-oriented interface needs no screen and changes no global state.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, sum(heights) or height), layout="constrained")
    if heights:
        parts = np.ravel(np.array(figure.subfigures(len(heights), 1, height_ratios=list(heights))))
        axes = [part.subplots() for part in parts]
    else:
        axes = list(np.ravel(np.array(figure.subplots(1, columns))))
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
    return figure, axes


def legend_below(axes: Axes, *, columns: int = 1) -> None:
    """Put the legend of some axes below their figure, where it covers no line."""
    lines, labels = axes.get_legend_handles_labels()
    axes.figure.legend(lines, labels, loc="outside lower left", ncols=columns, frameon=False, fontsize=8)


def plain(text: object) -> str:
    """Return a text in which a dollar sign starts no formula."""
    return str(text).replace("$", r"\$")


def picture(figure: Figure, path: Path | str, **options: Any) -> bytes:
    """Return a figure in the format that the ending of a file decides, such as ``.png``.

    Args:
        figure: The figure.
        path: The file.
        **options: As in `matplotlib.figure.Figure.savefig`; default: 150 dots an inch.

    Raises:
        StoreError: If the ending names no format.
    """
    stream = io.BytesIO()
    try:
        figure.savefig(stream, format=Path(path).suffix[1:] or "png", **{"dpi": 150, **options})
    except ValueError as error:
        raise StoreError(f"{path}: the picture cannot be written: {error}.") from error
    return stream.getvalue()


def save_figure(figure: Figure, path: Path | str, **options: Any) -> Path:
    """Write what `picture` returns into a file, in one step.

    Raises:
        StoreError: If the file cannot be written, its folder is missing, or its ending names no format.
    """
    if not Path(path).parent.is_dir():
        raise StoreError(f"{path}: the picture cannot be written: there is no such folder.")
    write_file(Path(path), picture(figure, path, **options))
    return Path(path)
