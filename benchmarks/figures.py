"""Make the figures of docs/figures.md: `python benchmarks/figures.py --runs FOLDERS`.

Data and model are the bundled ones of a task. Without runs, the figures of runs are left as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import tyro
from PIL import Image

from mopo_agents.figures import draw_learning_curves, draw_return_against_uncertainty
from mopo_agents.reports.comparison import by_task, group_runs
from mopo_agents.reports.curves import read_progress, returns_panel
from mopo_agents.runs.results import Run, find_runs
from mopo_env import make_penalized_model
from mopo_env.figures.canvas import save_figure
from mopo_env.figures.data import draw_coverage
from mopo_env.figures.model import draw_penalty_against_error, draw_penalty_field, draw_trajectories

DOCS = Path(__file__).resolve().parents[1] / "docs" / "figures"
COLOURS = 64  # enough for these figures, at a third of the bytes


def main(
    task: str = "halfcheetah-mixed",
    runs: tuple[Path, ...] = (),
    out: Path = DOCS,
    dimensions: tuple[int, int] = (8, 0),
    columns: tuple[int, ...] = (0, 1, 8),
) -> None:
    """Draw all figures.

    Args:
        task: A task with bundled data.
        runs: Folders of finished runs, or folders that hold some.
        out: The folder of the pictures.
        dimensions: Two columns of the observation, for the penalty field.
        columns: Columns of the observation, for the trajectories.
    """
    out.mkdir(parents=True, exist_ok=True)
    model = make_penalized_model(task)
    figures = {
        "coverage": draw_coverage(model.transitions),
        "penalty-field": draw_penalty_field(model, dimensions),
        "trajectories": draw_trajectories(model, columns),
        "penalty-against-error": draw_penalty_against_error(model),
    }
    if runs:
        groups, left_out = group_runs(find_runs(runs))
        for reason in left_out:
            print(f"left out: {reason}")
        tasks = by_task(groups)
        panels = [panel for found in tasks if (panel := returns_panel(found)) is not None]
        figures["learning-curves"] = draw_learning_curves(*panels)
        row, most = max((pair for found in tasks for pair in found), key=lambda pair: len(pair[1][0].returns))
        figures["return-against-uncertainty"] = draw_return_against_uncertainty(
            {f"{row.name}, seed {run.seed}": list(points_of(run)) for run in most}, title=row.task
        )
    for name, figure in figures.items():
        path = save_figure(figure, out / f"{name}.png", dpi=100)
        with Image.open(path) as picture:
            picture.convert("RGB").quantize(COLOURS).save(path, optimize=True)
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


def points_of(run: Run) -> Iterator[tuple[float, float]]:
    """Yield the mean penalty of the rollouts in an evaluated epoch, and the return after it."""
    epochs = {round(updates): epoch for epoch, updates in read_progress(run.folder, "train/n_updates").items()}
    penalties = read_progress(run.folder, "mopo/penalty_mean")
    for updates, value in zip(run.evaluated_at, run.returns, strict=True):
        yield penalties[epochs[updates]], value


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
