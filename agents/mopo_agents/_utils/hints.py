"""What a user should know before the next command."""

from __future__ import annotations

from pathlib import Path

from mopo_env.transitions import Transitions

__all__ = ["terminal_rows_hint"]


def terminal_rows_hint(transitions: Transitions, dataset: Path | str) -> str:
    """Return a line on terminal states that rollouts will not have without a termination rule, or nothing."""
    terminal = int(transitions.terminations.sum())
    if not terminal:
        return ""
    return (
        f"{terminal:,} of {len(transitions):,} rows end in a terminal state, and without a termination rule no rollout "
        f"will. Learn a rule with `mopo fit-termination {dataset}`, or name one with --termination."
    )
