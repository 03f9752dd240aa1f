"""Checks for mistakes in a valid dataset. Each function describes one kind of problem, or returns None."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from gymnasium.spaces import Discrete

from mopo_env.datasets.card.keys import episode_keys, row_keys
from mopo_env.tasks import Task
from mopo_env.transitions import Transitions

_FEW_ROWS = 1_000
# Interquartile ranges from the median. The largest of a million Gaussian values is at 4, MuJoCo's are below 50.
_OUTLIER = 100.0
# Smallest shares that are reported: of the rows, and of the entries of actions.
_MANY_STILL, _MANY_AT_BOUND = 0.05, 0.5
# Rows that are copied to PyTorch at a time.
_RULE_ROWS = 100_000


@dataclass(frozen=True)
class Problem:
    """The name of a check, and what it found, where, and what it means."""

    name: str
    text: str


def few_rows(transitions: Transitions, task: Task | None) -> str | None:
    """There are too few rows to fit a network."""
    if len(transitions) >= _FEW_ROWS:
        return None
    return f"only {len(transitions)} rows are few to fit {transitions.observation_dim + 1} outputs."


def rows_dropped(transitions: Transitions, task: Task | None) -> str | None:
    """The reader could not use some rows."""
    dropped = transitions.metadata.get("rows_dropped")
    if not isinstance(dropped, int) or dropped <= 0:
        return None
    return (
        f"{dropped:,} rows of the source were dropped, the last of each episode, since it does not hold their next "
        "states. No row is flagged as terminated for the same reason."
    )


def no_ends(transitions: Transitions, task: Task | None) -> str | None:
    """All rows are one episode: the flags or the episode column may be missing."""
    if len(transitions.episode_ends) > 1 or len(transitions) <= _FEW_ROWS:
        return None
    return "no row but the last ends an episode: returns and lengths are those of the whole recording."


def single_step_episodes(transitions: Transitions, task: Task | None) -> str | None:
    """Episodes have a single step, because of wrong flags."""
    lengths = np.diff(transitions.episode_ends, prepend=-1)
    # The recording may have stopped just after the last episode began.
    finished = lengths if transitions.terminations[-1] else lengths[:-1]
    short = np.flatnonzero(finished == 1)
    if len(short) == 0:
        return None
    return f"{len(short):,} of {len(lengths):,} episodes have one step only; the first is episode {short[0]}."


def broken_succession(transitions: Transitions, task: Task | None) -> str | None:
    """Rows of an episode do not follow one another."""
    within = ~(transitions.terminations | transitions.truncations)[:-1]
    broken = within & (transitions.next_observations[:-1] != transitions.observations[1:]).any(axis=1)
    rows = np.flatnonzero(broken)
    if len(rows) == 0:
        return None
    return (
        f"{len(rows):,} next observations are not the observation of the following row of their episode; the first at "
        f"{transitions.locate(int(rows[0]))}. A model can be fitted to shuffled or thinned rows, but their returns and "
        "lengths mean nothing."
    )


def motionless(transitions: Transitions, task: Task | None) -> str | None:
    """Nothing moves in some steps: sensors are slower than the log, or the recording is padded."""
    still = (transitions.next_observations == transitions.observations).all(axis=1)
    if still.mean() < _MANY_STILL:
        return None
    return (
        f"in {still.mean():.0%} of the rows the next observation equals the observation; the first is at "
        f"{transitions.locate(int(still.argmax()))}."
    )


def duplicate_episodes(transitions: Transitions, task: Task | None) -> str | None:
    """Whole episodes occur twice, as in files that were joined twice."""
    keys = episode_keys(transitions)
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    copies = np.flatnonzero(first[inverse] != np.arange(len(keys)))
    if len(copies) == 0:
        return None
    return (
        f"{len(copies):,} of {len(keys):,} episodes are exact copies of earlier ones; the first is episode "
        f"{copies[0]}, a copy of episode {first[inverse[copies[0]]]}."
    )


def duplicate_rows(transitions: Transitions, task: Task | None) -> str | None:
    """Rows occur twice: they count double, and a copy among the held-out rows hides overfitting."""
    keys = row_keys(transitions)
    keys.sort()
    copies = int((keys[1:] == keys[:-1]).sum())
    if copies == 0:
        return None
    return f"{copies:,} rows ({copies / len(keys):.1%}) are exact copies of others. This is normal only for few states."


def constant_observations(transitions: Transitions, task: Task | None) -> str | None:
    """Columns of the observations never change."""
    return _constant(transitions.observations, transitions.observation_names)


def constant_actions(transitions: Transitions, task: Task | None) -> str | None:
    """Actions never change, so the data cannot show their effect."""
    found = _constant(transitions.encoded_actions(), transitions.action_names)
    return found and f"{found} The model cannot know what another value would do."


def outliers(transitions: Transitions, task: Task | None) -> str | None:
    """Extreme values spoil the scale of their column, as error codes of sensors do."""
    found, names = [], transitions.observation_names
    columns = {"reward": transitions.rewards[:, None], "observation": transitions.observations}
    for name, array in {**columns, "next observation": transitions.next_observations}.items():
        sample = array[:: max(1, len(array) // 100_000)]
        low, median, high = np.quantile(sample, (0.25, 0.5, 0.75), axis=0)
        far = np.maximum(array.max(axis=0) - median, median - array.min(axis=0))
        # A column that hardly ever changes, such as a contact, has no scale to compare with.
        distance = np.divide(far, high - low, out=np.zeros_like(far), where=high > low)
        column = int(distance.argmax())
        if distance[column] > _OUTLIER:
            row = int(np.abs(array[:, column] - median[column]).argmax())
            found.append(
                f"{name.replace('observation', names[column])} is {array[row, column]:.4g} at "
                f"{transitions.locate(row)}, {distance[column]:,.0f} interquartile ranges from its median "
                f"{median[column]:.4g}"
            )
    return f"{'; '.join(found)}. Such a value decides the scale of its column." if found else None


def actions_at_bounds(transitions: Transitions, task: Task | None) -> str | None:
    """Actions are at a bound most of the time: they are clipped, or switch between the bounds."""
    if isinstance(transitions.action_space, Discrete):
        return None
    low, high = transitions.action_space.low, transitions.action_space.high
    share = float(((transitions.actions == low) | (transitions.actions == high)).mean())
    if share < _MANY_AT_BOUND:
        return None
    return f"{share:.0%} of the actions' entries are exactly a bound. Were they clipped, or are the bounds too narrow?"


def constant_rewards(transitions: Transitions, task: Task | None) -> str | None:
    """All rewards are equal."""
    lowest, highest = transitions.rewards.min(), transitions.rewards.max()
    if lowest != highest:
        return None
    return f"every reward is {lowest:g}: only the length of an episode separates good from bad policies."


def terminations_against_the_rule(transitions: Transitions, task: Task | None) -> str | None:
    """Flags contradict the task's analytic termination rule."""
    if task is None:
        return None
    try:
        by_rule = _terminal_by_rule(transitions, task.termination)
    except IndexError:
        return (
            f"the termination rule of {task.name} does not fit observations of width {transitions.observation_dim}: "
            "these are data of another system."
        )
    missing = np.flatnonzero(by_rule & ~transitions.terminations)
    surplus = np.flatnonzero(transitions.terminations & ~by_rule)
    rule, flagged = f"the rule {task.termination!r} of {task.name}", int(transitions.terminations.sum())
    found = []
    if len(missing):
        first = f"first at {transitions.locate(int(missing[0]))}"
        found.append(
            f"{len(missing):,} rows are not flagged as terminated although {rule} ends the episode there, {first}"
            if flagged
            else f"no row is flagged as terminated, but {rule} ends the episode in {len(missing):,} rows, {first}. The "
            "flags are missing, or these are data of another task"
        )
    if len(surplus):
        found.append(
            f"{len(surplus):,} of {flagged:,} rows flagged as terminated are not terminal by {rule}, first at "
            f"{transitions.locate(int(surplus[0]))}"
        )
    return f"{'; '.join(found)}." if found else None


# In the order of the output: problems of the whole dataset come first.
PROBLEMS: tuple[Callable[[Transitions, Task | None], str | None], ...] = (
    few_rows,
    rows_dropped,
    no_ends,
    single_step_episodes,
    broken_succession,
    motionless,
    duplicate_episodes,
    duplicate_rows,
    constant_observations,
    constant_actions,
    outliers,
    actions_at_bounds,
    constant_rewards,
    terminations_against_the_rule,
)


def find_problems(transitions: Transitions, task: Task | None = None) -> tuple[Problem, ...]:
    """Run every check."""
    found = ((check.__name__, check(transitions, task)) for check in PROBLEMS)
    return tuple(Problem(name, text) for name, text in found if text is not None)


def _constant(array: np.ndarray, names: list[str]) -> str | None:
    columns = np.flatnonzero(array.min(axis=0) == array.max(axis=0))
    if len(columns) == 0:
        return None
    listed = ", ".join(f"{names[column]} (always {array[0, column]:.4g})" for column in columns[:5])
    more = f" and {len(columns) - 5} more" if len(columns) > 5 else ""
    return f"{listed}{more} never changes."


def _terminal_by_rule(transitions: Transitions, rule: str) -> np.ndarray:
    import torch  # importing it takes a second, and no other check needs it

    from mopo_env.terminations import get_termination

    terminal = get_termination(rule)
    columns = (transitions.observations, transitions.actions, transitions.next_observations)
    parts = (slice(start, start + _RULE_ROWS) for start in range(0, len(transitions), _RULE_ROWS))
    return np.concatenate([terminal(*(torch.tensor(column[part]) for column in columns)).numpy() for part in parts])
