"""Curves over seeds: means by hand, seeds that ended early, and a legend that covers nothing."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from matplotlib.backends.backend_agg import FigureCanvasAgg

from mopo_agents.figures import Panel, draw_learning_curves, draw_return_against_uncertainty, make_curve

CURVES = [
    make_curve("one", [{10: 1.0, 20: 3.0, 30: 5.0}, {10: 3.0, 20: 5.0}]),
    make_curve("a $strange$ name, " * 4, [{10: 0.0, 20: 9.0}]),
]


def panel(**options: float) -> Panel:
    return Panel(title="task", curves=CURVES, dataset_mean=1.0, dataset_max=9.0, **options)


def test_a_seed_that_ended_early_keeps_its_last_value() -> None:
    """Its policy is that of the epoch before; left out, the mean would rise when a seed diverges."""
    curve = CURVES[0]
    np.testing.assert_array_equal(curve.updates, [10, 20, 30])
    np.testing.assert_array_equal(curve.values, [[1, 3, 5], [3, 5, 5]])
    late = make_curve("late", [{20: 1.0}, {10: 2.0}])
    np.testing.assert_array_equal(late.values, [[np.nan, 1], [2, 2]])


def test_the_line_is_the_mean_over_seeds() -> None:
    axes = draw_learning_curves(panel()).axes[0]
    lines = {str(line.get_label()): np.asarray(line.get_ydata()) for line in axes.lines}
    np.testing.assert_array_equal(lines["one"], [2.0, 4.0, 5.0])
    assert {"best episode of the data: 9", "mean episode of the data: 1"} <= set(lines)
    assert "the paper's return: 7" in {
        str(line.get_label()) for line in draw_learning_curves(panel(paper=7)).axes[0].lines
    }


def test_the_legend_covers_nothing() -> None:
    """It once lay on the line of the best episode, which is the one to beat. Here that line is at the very top."""
    figure = draw_learning_curves(panel(), panel())
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    for part, axes in zip(figure.subfigs, figure.axes, strict=True):
        (legend,) = part.legends
        box, drawn = legend.get_window_extent(), axes.get_window_extent()
        assert box.y1 <= drawn.y0, "below the axes"
        assert box.y0 >= part.bbox.y0 - 1, "within the figure"


def test_every_policy_is_a_dot() -> None:
    axes = draw_return_against_uncertainty({"a": [(1.0, 5.0), (2.0, 7.0)], "b": [(3.0, 1.0)]}, title="task").axes[0]
    dots = [np.asarray(part.get_offsets()).tolist() for part in axes.collections]
    assert dots == [[[1.0, 5.0], [2.0, 7.0]], [[3.0, 1.0]]]
