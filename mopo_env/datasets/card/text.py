"""A dataset card as text for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mopo_env.datasets.card.card import DatasetCard
from mopo_env.datasets.card.statistics import Columns, Distribution
from mopo_env.tasks import Task

__all__ = ["card_text", "printable"]

_WIDTH = 100
_BAR = 40
_MOST_COLUMNS = 60
# Shown elsewhere on the card, or not made to be read.
_NOT_SHOWN = {"rows", "episodes", "fingerprint", "episode_returns", "behaviour_returns"}


def card_text(card: DatasetCard) -> str:
    """Return the card, lines of at most about a hundred characters."""
    blocks = [
        _head(card),
        _distribution("Return of an episode", card.returns, "{:.1f}", _beside(card.task, card.returns)),
        _distribution("Steps of an episode", card.lengths, "{:.0f}", [_ends(card)]),
        _distribution("Reward of a step", card.rewards, "{:.3g}", []),
        _observations(card),
        _actions(card),
        _problems(card),
    ]
    return "\n\n".join("\n".join(lines) for lines in blocks)


def printable(text: str) -> str:
    """Replace what would move the cursor of a terminal: names and metadata come from strangers' files."""
    return "".join(character if character.isprintable() else "�" for character in text)


def _head(card: DatasetCard) -> list[str]:
    rows = [
        ("transitions", f"{card.rows:,} in {card.episodes:,} episode{'s' * (card.episodes != 1)}"),
        ("observation", card.observation_space),
        ("action", card.action_space),
        ("memory", f"{card.bytes / 1e6:,.1f} MB"),
        ("fingerprint", card.fingerprint[:12]),
    ]
    rows += [(name, _short(value)) for name, value in _flat(card.metadata) if name not in _NOT_SHOWN]
    if card.task is not None:
        rows.append(("task", f"{card.task.id}, real environment {card.task.real_env_id}"))
    width = max(len(name) for name, _ in rows)
    return [f"{printable(name):<{width}}  {value}" for name, value in rows]


def _flat(metadata: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Name the entries of mappings in mappings by their path."""
    entries: list[tuple[str, Any]] = []
    for name, value in metadata.items():
        entries += _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else [(f"{prefix}{name}", value)]
    return [(name, value) for name, value in entries if value is not None]


def _short(value: Any) -> str:
    if isinstance(value, list | tuple):
        value = ", ".join(map(str, value[:20])) + ", …" * (len(value) > 20)
    return textwrap.shorten(printable(str(value)), _WIDTH, placeholder=" …")


def _distribution(title: str, found: Distribution, style: str, notes: Sequence[str]) -> list[str]:
    show = style.format
    lines = [
        f"{title}: mean {show(found.mean)}, standard deviation {show(found.std)}, "
        f"smallest {show(found.minimum)}, largest {show(found.maximum)}"
    ]
    lines += [f"  {note}" for note in notes]
    if found.minimum == found.maximum:
        return lines
    names = ("5 %", "25 %", "50 %", "75 %", "95 %")
    quantiles = (f"{name} {show(value)}" for name, value in zip(names, found.quantiles, strict=True))
    lines.append(f"  quantiles: {', '.join(quantiles)}")
    edges = [show(edge) for edge in found.edges]
    width, most = max(map(len, edges)), max(found.counts)
    for low, high, count in zip(edges, edges[1:], found.counts, strict=False):
        # Every bin that is not empty shows something.
        bar = "█" * max(round(_BAR * count / most), int(count > 0))
        lines.append(f"  {low:>{width}} … {high:>{width}}  {bar} {count:,}")
    return lines


def _beside(task: Task | None, returns: Distribution) -> list[str]:
    """Compare returns with what is published; a task need not have either."""
    if task is None:
        return []
    beside: list[tuple[str, float | None, float | None]] = [
        ("the paper's batch", task.paper_dataset_mean, task.paper_dataset_max),
        ("on D4RL's scale", task.normalised(returns.mean), task.normalised(returns.maximum)),
    ]
    return [
        f"{name}: mean {mean:.1f}, largest {largest:.1f}"
        for name, mean, largest in beside
        if mean is not None and largest is not None
    ]


def _ends(card: DatasetCard) -> str:
    unfinished = 1 - card.terminated - card.truncated
    rest = ", the last one is unfinished" if unfinished > 1e-9 else ""
    return f"{card.terminated:.1%} of the episodes terminated, {card.truncated:.1%} were cut off{rest}"


def _observations(card: DatasetCard) -> list[str]:
    width = len(card.observations.mean)
    title = f"Observations vary in {card.effective_dimension:.1f} of {width} directions (participation ratio)"
    return [title, *_columns(card.observations)]


def _actions(card: DatasetCard) -> list[str]:
    shares = [f"{share:.1%}" for share in card.actions.at_bounds]
    if card.actions.numbered:
        return ["Actions, and how often each was chosen: " + ", ".join(f"{i}: {s}" for i, s in enumerate(shares))]
    title = f"Actions: {card.actions.at_bounds.mean():.1%} of the time at a bound, or within a thousandth of the range"
    return [title, *_columns(card.actions.columns, ("at a bound", shares))]


def _columns(columns: Columns, extra: tuple[str, list[str]] | None = None) -> list[str]:
    names = ["smallest", "largest", "mean", "std"]
    arrays = np.stack([columns.minimum, columns.maximum, columns.mean, columns.std], axis=1)
    cells = [[f"{value:.4g}" for value in row] for row in arrays[:_MOST_COLUMNS]]
    if extra is not None:
        names.append(extra[0])
        cells = [[*row, share] for row, share in zip(cells, extra[1], strict=False)]
    lines = ["  column" + "".join(f"{name:>12}" for name in names)]
    lines += [f"  {index:>6}" + "".join(f"{cell:>12}" for cell in row) for index, row in enumerate(cells)]
    hidden = len(arrays) - len(cells)
    return lines + [f"  … and {hidden:,} more"] * (hidden > 0)


def _problems(card: DatasetCard) -> list[str]:
    if not card.problems:
        return ["Problems: none found"]
    lines = [f"Problems: {len(card.problems)} found"]
    for problem in card.problems:
        text = f"{problem.name.replace('_', ' ')}: {problem.text}"
        lines += textwrap.wrap(text, _WIDTH, initial_indent="  - ", subsequent_indent="    ")
    return lines
