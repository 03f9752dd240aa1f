"""The table of tasks against the paper's, and the ids that Gymnasium knows."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError
from pathlib import Path

import gymnasium as gym
import pytest

import mopo_env  # registers the ids
from mopo_env.errors import ConfigError, DatasetError, MopoError, StoreError, UnknownNameError
from mopo_env.tasks import ID_PREFIX, TASKS, TOY_ID, Task, get_task
from mopo_env.terminations import TERMINATIONS

# Copied from the paper: recipe, robot; Table 4 (h, λ); Table 1 (batch mean, batch max, MOPO).
PAPER = """
random      halfcheetah  5 0.5   -303.2    -0.1 3679.8
random      hopper       5 1     299.26   365.9  412.8
random      walker2d     1 1        0.9    57.3  596.3
medium      halfcheetah  1 1     3953.0  4410.7 4706.9
medium      hopper       5 5     1021.7  3254.3  840.9
medium      walker2d     5 5      498.4  3752.7  645.5
mixed       halfcheetah  5 1     2300.6  4834.2 6418.3
mixed       hopper       1 5      470.5  1377.9 2988.7
mixed       walker2d     1 1      358.4  1956.5 1540.7
med-expert  halfcheetah  5 5     8074.9 12940.2 6913.5
med-expert  hopper       5 1     1850.5  3760.5 1663.5
med-expert  walker2d     1 2     1062.3  5408.6 2527.1
"""
# Table 2 (batch mean, batch max, MOPO) and Appendix C.2 (h, λ) of the out-of-distribution tasks.
OUT_OF_DISTRIBUTION = [
    ("halfcheetah-jump", "halfcheetah", "mopo/HalfCheetahCapped-v0", "mopo/HalfCheetahJump-v0"),
    ("ant-angle", "ant", "mopo/AntForward-v0", "mopo/AntAngle-v0"),
]
OUT_OF_DISTRIBUTION_NUMBERS = [(5, 1.0, -1022.6, 1808.6, 4140.6), (25, 2.0, 866.7, 2311.9, 2502.2)]
ROWS = [line.split() for line in PAPER.strip().splitlines()]
# D4RL's reference returns, as its `infos.py` has them.
REFERENCE = {"halfcheetah": (-280.178953, 12135.0), "hopper": (-20.272305, 3234.3), "walker2d": (1.629008, 4592.3)}
REAL = {"halfcheetah": "HalfCheetah-v5", "hopper": "Hopper-v5", "walker2d": "Walker2d-v5"}
IDS = [
    *[f"MOPO-{robot}-{recipe}" for recipe, robot, *_ in ROWS],
    *[f"MOPO-{name}" for name, *_ in OUT_OF_DISTRIBUTION],
    "MOPO-cartpole-mixed",
]
NUMBERS = ("horizon", "penalty_coef", "paper_dataset_mean", "paper_dataset_max", "paper_return")


class TestTable:
    """Every number that decides a result."""

    @pytest.mark.parametrize(("recipe", "robot", "numbers"), [(row[0], row[1], row[2:]) for row in ROWS])
    def test_row(self, recipe: str, robot: str, numbers: list[str]) -> None:
        task = TASKS[f"{robot}-{recipe}"]
        assert tuple(getattr(task, name) for name in NUMBERS) == tuple(map(float, numbers))
        assert type(task.horizon) is int
        assert (task.recipe, task.real_env_id, task.termination) == (recipe, REAL[robot], robot)
        assert (task.reference_min, task.reference_max) == REFERENCE[robot]
        # The agent rolls out, and the data come from where the policy is evaluated.
        assert (task.rollout_policy, task.behaviour_env_id) == ("agent", REAL[robot])

    @pytest.mark.parametrize(
        ("row", "numbers"), [*zip(OUT_OF_DISTRIBUTION, OUT_OF_DISTRIBUTION_NUMBERS, strict=True)], ids=["jump", "angle"]
    )
    def test_out_of_distribution_row(self, row: tuple[str, ...], numbers: tuple[float, ...]) -> None:
        """Random rollouts are Appendix C.1's; there are no references of D4RL's for these rewards."""
        task = TASKS[row[0]]
        assert tuple(getattr(task, name) for name in NUMBERS) == numbers
        assert type(task.horizon) is int
        assert (task.name, task.termination, task.behaviour_env_id, task.real_env_id) == row
        assert (task.recipe, task.rollout_policy) == ("replay", "random")
        assert (task.reference_min, task.reference_max) == (None, None)
        assert task.normalised(1000.0) is None

    def test_no_more_and_no_fewer(self) -> None:
        assert [task.id for task in TASKS.values()] == IDS
        assert all(name == task.name for name, task in TASKS.items())

    @pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
    def test_names_lead_somewhere(self, task: Task) -> None:
        """A misspelt name would show only once data, ensemble and MuJoCo are there."""
        assert task.termination in TERMINATIONS
        assert task.real_env_id in gym.registry
        assert task.behaviour_env_id in gym.registry

    def test_normalised_scale(self) -> None:
        """A random policy is 0, an expert 100, and the scale is linear in between and beyond."""
        for task in TASKS.values():
            if task.reference_min is None or task.reference_max is None:
                continue
            assert task.normalised(task.reference_min) == 0.0
            assert task.normalised(task.reference_max) == pytest.approx(100.0, rel=1e-12)
            middle = (task.reference_min + task.reference_max) / 2
            assert task.normalised(middle) == pytest.approx(50.0, rel=1e-12)
        assert get_task("halfcheetah-mixed").normalised(6418.3) == pytest.approx(53.954, abs=1e-3)

    def test_frozen(self) -> None:
        with pytest.raises(FrozenInstanceError):
            get_task("hopper-mixed").penalty_coef = 0.0  # type: ignore[misc]


class TestGetTask:
    """Names and ids both lead to the task; anything else to a suggestion."""

    @pytest.mark.parametrize("name", TASKS)
    def test_by_name_and_by_id(self, name: str) -> None:
        assert get_task(name) is get_task(ID_PREFIX + name) is TASKS[name]

    @pytest.mark.parametrize(
        ("name", "nearest"),
        [
            ("halfcheetah-mixd", "halfcheetah-mixed"),
            ("MOPO-hopper-randm", "hopper-random"),
            ("Walker2d-Medium", "walker2d-medium"),
            ("hopper-medium-expert", "hopper-med-expert"),
        ],
    )
    def test_nearest_name(self, name: str, nearest: str) -> None:
        with pytest.raises(UnknownNameError) as caught:
            get_task(name)
        message = str(caught.value)
        assert f"unknown task {name!r}" in message
        assert repr(nearest) in message.split("Known:")[0]
        assert all(known in message.split("Known:")[1] for known in TASKS)

    @pytest.mark.parametrize("name", ["", "x", "MOPO-", "MOPO-MOPO-hopper-mixed", "HalfCheetah-v5"])
    def test_no_such_task(self, name: str) -> None:
        with pytest.raises(UnknownNameError, match="unknown task"):
            get_task(name)


class TestRegistration:
    """What `import mopo_env` tells Gymnasium."""

    def test_each_id_is_its_own_task_and_there_are_no_others(self) -> None:
        """A closure in the loop that registers them would make all of them the last."""
        found = {id_: spec for id_, spec in gym.registry.items() if id_.startswith(ID_PREFIX)}
        assert found.keys() == {*IDS, TOY_ID}
        assert all(found[id_].kwargs == {"task": id_.removeprefix(ID_PREFIX)} for id_ in IDS)
        # A TimeLimit around h would truncate twice.
        assert all(spec.vector_entry_point and spec.max_episode_steps is None for spec in found.values())

    @pytest.mark.parametrize("id_", [*IDS, TOY_ID])
    def test_spec_survives_json(self, id_: str) -> None:
        """Minari and experiment trackers store specs as JSON, so their arguments are names and numbers only."""
        spec = gym.spec(id_)
        text = spec.to_json()
        assert json.loads(text)["id"] == id_
        assert gym.envs.registration.EnvSpec.from_json(text) == spec

    def test_registering_again_is_what_a_reload_does(self) -> None:
        """Gymnasium warns when an id is overridden; nobody should lose an id by it."""
        with pytest.warns(UserWarning, match="Overriding environment"):
            mopo_env.register_all()
        assert {id_ for id_ in gym.registry if id_.startswith(ID_PREFIX)} == {*IDS, TOY_ID}


class TestMake:
    """What a user meets before there is any data; the tasks themselves need a fitted ensemble."""

    def test_without_data(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("mopo_env.datasets.folders._BUNDLED", tmp_path / "nothing")
        for make in (gym.make, gym.make_vec):
            with pytest.raises(MopoError) as caught:
                make("MOPO-halfcheetah-mixed")
            assert isinstance(caught.value, (StoreError, DatasetError))
            for part in ("'halfcheetah-mixed'", "`mopo "):
                assert part in str(caught.value)

    @pytest.mark.parametrize("argument", ["dataset", "ensemble"])
    def test_objects_are_refused(self, argument: str) -> None:
        """They would make the spec unserialisable; the message names the way that takes objects."""
        with pytest.raises(ConfigError) as caught:
            gym.make("MOPO-halfcheetah-mixed", **{argument: [1, 2]})
        for part in (f"{argument}: ", "found a list", "PenalizedModelEnv(PenalizedModel("):
            assert part in str(caught.value)
