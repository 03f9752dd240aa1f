"""Hints that the command line prints before the next command."""

from __future__ import annotations

from pathlib import Path

from mopo_env.transitions import Transitions


def terminal_rows_hint(transitions: Transitions, dataset: Path | str) -> str:
    """Return a hint that data with terminal states need a termination rule; empty for other data."""
    terminal = int(transitions.terminations.sum())
    if not terminal:
        return ""
    return (
        f"{terminal:,} of {len(transitions):,} rows end in a terminal state, but without a termination rule no rollout "
        f"will. Learn a rule with `mopo fit-termination {dataset}`, or name one with --termination."
    )
