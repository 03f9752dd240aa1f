"""A dataset card as text for a terminal."""

import textwrap
from collections.abc import Mapping
from typing import Any

from mopo_env.datasets.card.card import Column, DatasetCard

_WIDTH = 100
_MOST_COLUMNS = 60
# Shown elsewhere on the card, or too long.
_NOT_SHOWN = {"rows", "episodes", "fingerprint", "episode_returns", "behaviour_returns"}


def card_text(card: DatasetCard) -> str:
    """Return the card as text in lines of about a hundred characters."""
    blocks = (_head(card), _episodes(card), _columns(card.columns), _problems(card))
    return "\n\n".join("\n".join(lines) for lines in blocks)


def printable(text: str) -> str:
    """Replace control characters, which could change the terminal: names and metadata come from strangers' files."""
    return "".join(character if character.isprintable() else "�" for character in text)


def _head(card: DatasetCard) -> list[str]:
    rows = [
        ("transitions", f"{card.rows:,} in {card.episodes:,} episode{'s' * (card.episodes != 1)}"),
        ("observation", card.observation_space),
        ("action", card.action_space),
        ("fingerprint", card.fingerprint[:12]),
    ]
    rows += [(name, _short(value)) for name, value in _flat(card.metadata) if name not in _NOT_SHOWN]
    if card.task is not None:
        rows.append(("task", f"{card.task.id}, real environment {card.task.real_env_id}"))
    width = max(len(name) for name, _ in rows)
    return [f"{printable(name):<{width}}  {value}" for name, value in rows]


def _flat(metadata: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Flatten nested mappings; the names are paths."""
    entries: list[tuple[str, Any]] = []
    for name, value in metadata.items():
        entries += _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else [(f"{prefix}{name}", value)]
    return [(name, value) for name, value in entries if value is not None]


def _short(value: Any) -> str:
    if isinstance(value, list | tuple):
        value = ", ".join(map(str, value[:20])) + ", …" * (len(value) > 20)
    return textwrap.shorten(printable(str(value)), _WIDTH, placeholder=" …")


def _episodes(card: DatasetCard) -> list[str]:
    lines = [
        f"{title}: mean {found.mean:.1f}, standard deviation {found.std:.1f}, smallest {found.minimum:.1f}, "
        f"largest {found.maximum:.1f}"
        for title, found in (("Return of an episode", card.returns), ("Steps of an episode", card.lengths))
    ]
    lines[1:1] = [f"  {line}" for line in _published(card)]
    unfinished = 1 - card.terminated - card.truncated
    rest = ", the last one is unfinished" if unfinished > 1e-9 else ""
    return [*lines, f"  {card.terminated:.1%} of the episodes terminated, {card.truncated:.1%} were cut off{rest}"]


def _published(card: DatasetCard) -> list[str]:
    """Compare returns with the published ones, if the task has them."""
    if card.task is None:
        return []
    returns = card.returns
    beside: list[tuple[str, float | None, float | None]] = [
        ("the paper's batch", card.task.paper_dataset_mean, card.task.paper_dataset_max),
        ("on D4RL's scale", card.task.normalised(returns.mean), card.task.normalised(returns.maximum)),
    ]
    return [
        f"{name}: mean {mean:.1f}, largest {largest:.1f}"
        for name, mean, largest in beside
        if mean is not None and largest is not None
    ]


def _columns(columns: Mapping[str, Column]) -> list[str]:
    shown = [(printable(name), column) for name, column in columns.items()][:_MOST_COLUMNS]
    width = max(len(name) for name, _ in shown)
    lines = [" " * width + "".join(f"{title:>12}" for title in ("smallest", "largest", "mean", "std"))]
    for name, column in shown:
        numbers = (column.minimum, column.maximum, column.mean, column.std)
        lines.append(f"{name:<{width}}" + "".join(f"{number:>12.4g}" for number in numbers))
    hidden = len(columns) - len(shown)
    return lines + [f"… and {hidden:,} more"] * (hidden > 0)


def _problems(card: DatasetCard) -> list[str]:
    if not card.problems:
        return ["Problems: none found"]
    lines = [f"Problems: {len(card.problems)} found"]
    for problem in card.problems:
        text = printable(f"{problem.name.replace('_', ' ')}: {problem.text}")
        lines += textwrap.wrap(text, _WIDTH, initial_indent="  - ", subsequent_indent="    ")
    return lines
