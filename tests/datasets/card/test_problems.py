"""Each check of a dataset fires for the mistake that it is made for, says where, and for nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box
from helpers.transitions import ARRAYS, arrays_of, transitions

from mopo_env.datasets.card import problems
from mopo_env.datasets.card.problems import PROBLEMS, find_problems
from mopo_env.tasks import get_task
from mopo_env.transitions import Transitions

HOPPER = get_task("hopper-mixed")
Change = Callable[[dict[str, Any]], None]


def sound(rows: int = 1200, **changes: Any) -> Transitions:
    """Episodes of 100 steps that nothing is wrong with: all are cut off, and none looks like Hopper falling."""
    # As Hopper stands: its height above 0.7, its angle below 0.2.
    states = np.array([1.2, 0.0, 0.0]) + np.random.default_rng(0).uniform(-0.15, 0.15, (rows + 1, 3))
    content: dict[str, Any] = {"observations": states[:-1], "next_observations": states[1:]}
    return transitions(widths=(3, 2), truncations=np.arange(rows) % 100 == 99, **{**content, **changes})


def changed(change: Change, **given: Any) -> Transitions:
    """Return a sound dataset whose arrays, copied, went through a function."""
    content = arrays_of(sound())
    change(content)
    return Transitions(**content, **given)


def setting(name: str, index: Any, value: Any) -> Change:
    def change(content: dict[str, Any]) -> None:
        content[name][index] = value

    return change


def both(*changes: Change) -> Change:
    def change(content: dict[str, Any]) -> None:
        for each in changes:
            each(content)

    return change


def move_a_state(row: int, column: int, value: float) -> Change:
    """Change a state where it is arrived at and where it is left."""
    return both(setting("next_observations", (row, column), value), setting("observations", (row + 1, column), value))


def repeat_episode(content: dict[str, Any]) -> None:
    for name in ARRAYS:
        content[name][500:600] = content[name][200:300]


def repeat_rows(content: dict[str, Any]) -> None:
    for name in ("observations", "actions", "rewards", "next_observations"):
        content[name][[510, 511]] = content[name][[210, 211]]


def hold_still(content: dict[str, Any]) -> None:
    """Every tenth observation is reported twice."""
    for row in range(0, 1200, 10):
        content["next_observations"][row] = content["observations"][row + 1] = content["observations"][row]


def fall(content: dict[str, Any]) -> None:
    """The first episode ends on the ground, and is flagged accordingly."""
    content["next_observations"][99, 0] = 0.5
    content["terminations"][99], content["truncations"][99] = True, False


def unflag(content: dict[str, Any]) -> None:
    content["terminations"][:] = content["truncations"][:] = False


def half_at_bounds(content: dict[str, Any]) -> None:
    content["actions"][:, 0] = np.where(np.arange(1200) % 2, 1, -1)


# The check, a dataset it must fire for, and what it must say.
FIRING: dict[str, tuple[Transitions, list[str]]] = {
    "few_rows": (sound(120), ["only 120 rows", "4 outputs"]),
    "rows_dropped": (sound(metadata={"rows_dropped": 1234}), ["1,234 rows", "terminated"]),
    "no_ends": (changed(unflag), ["no row but the last"]),
    "single_step_episodes": (
        changed(setting("truncations", [699, 700], True)),
        ["1 of 13 episodes", "the first is episode 7."],
    ),
    "broken_succession": (
        changed(setting("observations", (slice(205, 208), 1), 0.1234)),
        ["3 next observations", "episode 2, step 4"],
    ),
    "motionless": (changed(hold_still), ["in 10% of the rows", "episode 0, step 0"]),
    "duplicate_episodes": (changed(repeat_episode), ["1 of 12 episodes", "episode 5, a copy of episode 2"]),
    "duplicate_rows": (changed(repeat_rows), ["2 rows (0.2%)"]),
    "constant_observations": (
        changed(both(setting("observations", (slice(None), 2), 7), setting("next_observations", (slice(None), 2), 7))),
        ["observation 2 (always 7) never changes"],
    ),
    "constant_actions": (changed(setting("actions", (slice(None), 1), 0.5)), ["action 1 (always 0.5)", "cannot know"]),
    "outliers": (
        changed(move_a_state(318, 2, -99)),
        ["observation 2 is -99 at episode 3, step 19", "next observation 2 is -99 at episode 3, step 18"],
    ),
    "actions_at_bounds": (changed(half_at_bounds), ["50% of the actions' numbers", "clipped"]),
    "actions_outside": (changed(setting("actions", (slice(3, 5), 0), 1.00005)), ["2 rows", "up to 5e-05"]),
    "constant_rewards": (changed(setting("rewards", slice(None), -2)), ["every reward is -2"]),
    "terminations_against_the_rule": (
        changed(both(fall, setting("terminations", 99, False), setting("truncations", 99, True))),
        ["no row is flagged as terminated", "in 1 rows, first at episode 0, step 99"],
    ),
}
# What comes with it, and rightly: these mistakes have several faces.
COMPANIONS = {
    "duplicate_episodes": {"duplicate_rows"},
    "duplicate_rows": {"broken_succession"},
}


def test_nothing_is_wrong_with_sound_data() -> None:
    assert find_problems(sound(), HOPPER) == ()
    assert find_problems(changed(fall), HOPPER) == ()


def test_every_check_is_tried_here() -> None:
    assert [check.__name__ for check in PROBLEMS] == list(FIRING)


@pytest.mark.parametrize("name", FIRING)
def test_the_check_fires_alone_and_says_where(name: str) -> None:
    data, parts = FIRING[name]
    found = {problem.name: problem.text for problem in find_problems(data, HOPPER)}
    assert set(found) == {name} | COMPANIONS.get(name, set())
    for part in parts:
        assert part in found[name]


def test_without_a_task_there_is_no_rule() -> None:
    data, _ = FIRING["terminations_against_the_rule"]
    assert find_problems(data) == ()


class TestTerminations:
    """Flags and rule can disagree either way."""

    def text(self, change: Change, task: str = "hopper-mixed") -> str | None:
        return problems.terminations_against_the_rule(changed(change), get_task(task))

    def test_a_flag_where_the_rule_sees_nothing(self) -> None:
        text = self.text(both(fall, setting("terminations", 299, True)))
        assert text is not None
        assert "1 of 2 rows flagged as terminated are not terminal" in text
        assert "episode 2, step 99" in text
        assert "although" not in text

    def test_some_flags_are_missing(self) -> None:
        text = self.text(both(fall, setting("next_observations", (slice(398, 400), 0), 0.5)))
        assert text is not None
        assert "2 rows are not flagged as terminated although" in text
        assert "episode 3, step 98" in text

    def test_a_task_that_never_ends(self) -> None:
        assert self.text(setting("next_observations", (99, 0), 0.5), "halfcheetah-mixed") is None
        assert "not terminal by" in str(self.text(fall, "halfcheetah-mixed"))

    def test_data_of_another_system(self) -> None:
        text = problems.terminations_against_the_rule(transitions(widths=(1, 1)), HOPPER)
        assert text is not None
        assert "does not fit observations of width 1" in text

    def test_more_rows_than_are_looked_at_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The rule is applied in parts; the place of a finding must not be counted from a part's start."""
        monkeypatch.setattr(problems, "_RULE_ROWS", 70)
        assert "episode 3, step 98" in str(
            self.text(both(fall, setting("next_observations", (slice(398, 400), 0), 0.5)))
        )


def test_the_last_episode_may_just_have_begun() -> None:
    """A recording stops somewhere: one row after a reset is no mistake, unless it is terminal."""
    begun = changed(setting("truncations", 1198, True))
    assert problems.single_step_episodes(begun, None) is None
    over = changed(both(setting("truncations", 1198, True), setting("terminations", 1199, True)))
    assert problems.single_step_episodes(over, None) is not None


def test_episodes_of_the_same_rows_in_another_order_are_no_copies() -> None:
    def reverse(content: dict[str, Any]) -> None:
        for name in ("observations", "actions", "rewards", "next_observations"):
            content[name][500:600] = content[name][200:300][::-1]

    assert problems.duplicate_episodes(changed(reverse), None) is None
    assert "100 rows" in str(problems.duplicate_rows(changed(reverse), None))


def test_rows_that_differ_in_one_bit_of_one_array_are_no_copies() -> None:
    for name in ("observations", "actions", "rewards", "next_observations"):

        def differ(content: dict[str, Any], name: str = name) -> None:
            repeat_rows(content)
            for row in (510, 511):
                bits = content[name].reshape(1200, -1).view(np.uint32)
                bits[row, -1] ^= 1

        assert problems.duplicate_rows(changed(differ), None) is None, name


def test_a_sensor_that_is_mostly_at_rest_has_no_scale_to_be_far_in() -> None:
    """A contact is 0 almost always; that it is 1 at times is no outlier."""
    contact = np.arange(1200) % 50 == 0
    change = both(
        setting("observations", (slice(None), 2), contact),
        setting("next_observations", (slice(None), 2), np.roll(contact, -1)),
    )
    assert problems.outliers(changed(change), None) is None


@pytest.mark.parametrize("rows_dropped", [0, None, "many", -3])
def test_metadata_may_hold_anything(rows_dropped: Any) -> None:
    assert problems.rows_dropped(sound(metadata={"rows_dropped": rows_dropped}), None) is None


def test_bounds_other_than_one() -> None:
    """What counts as a bound is the action space's to say."""
    wide = changed(half_at_bounds, action_space=Box(-5, 5, (2,)))
    assert problems.actions_at_bounds(wide, None) is None
