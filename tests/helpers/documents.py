"""Programs of examples and pages, at a small size."""

from __future__ import annotations

import re

# What stands in a program, and what a test runs instead. Nothing else is changed.
_SIZES = {
    r"^EPOCHS, .*$": "EPOCHS, ROLLOUTS, UPDATES, HORIZON = 1, 20, 5, 5",
    r"^STEPS, .*$": "STEPS, NUM_ENVS = 6, 4",
    r"^(TRIALS|TREES|FIT_EPOCHS) = .*$": r"\1 = 2",
    r"rollout_batch_size=1000, n_epochs=2, batch_size=1000": "rollout_batch_size=20",
    r"rollout_batch_size=20_000\)": "rollout_batch_size=20, gradient_steps=5)",
    r"30 \* 20_000": "1 * 20",
    r"EPOCHS \* 1000": "EPOCHS * 20",
    r"learning_starts=100": "learning_starts=10",
}


def small(program: str) -> str:
    """Return a program with small sizes."""
    for pattern, size in _SIZES.items():
        program = re.sub(pattern, size, program, flags=re.MULTILINE)
    return program
