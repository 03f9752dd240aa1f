"""Discrete actions from a dataset to a trained policy: every place that a box passes through."""

from __future__ import annotations

import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete, MultiDiscrete
from gymnasium.utils.env_checker import check_env
from helpers.transitions import transitions
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.env_checker import check_env as check_env_for_sb3

from mopo_agents.agents import make_agent
from mopo_agents.collection.config import CollectConfig
from mopo_agents.collection.recipes import collect
from mopo_agents.collection.replay_rows import transitions_from_replay_buffer
from mopo_agents.evaluation import evaluate, evaluation_seed
from mopo_agents.policies import load_policy
from mopo_agents.replay_buffer import MixedReplayBuffer
from mopo_agents.runs.config import TrainConfig
from mopo_agents.runs.train import train
from mopo_agents.vec_env import PenalizedModelVecEnv
from mopo_env.datasets.files import load_transitions, save_transitions
from mopo_env.datasets.folders import user_folder
from mopo_env.datasets.minari.reader import load_minari, save_minari
from mopo_env.datasets.relabel import relabel
from mopo_env.datasets.tables.reader import load_table
from mopo_env.envs.env import PenalizedModelEnv
from mopo_env.envs.penalized_model import PenalizedModel
from mopo_env.envs.vector_env import PenalizedModelVectorEnv
from mopo_env.errors import ConfigError, DatasetError, InputError, SpaceMismatchError
from mopo_env.models.ensemble import save_ensemble
from mopo_env.models.fit import fit_ensemble
from mopo_env.models.fit_config import FitConfig
from mopo_env.real.real_env import make_real_env
from mopo_env.terminations import cartpole
from mopo_env.toys import StubEnsemble
from mopo_env.transitions import Transitions

STEP = torch.tensor([-1.0, 0.0, 2.0])  # what actions 0, 1 and 2 add to the state


def numbers(rows: int = 60, **changes: Any) -> Transitions:
    """Twelve episodes of five steps of x′ = x + STEP[a], which pays x′."""
    random = np.random.default_rng(0)
    actions = random.integers(3, size=rows)
    start = random.normal(size=(rows, 1))
    arrays: dict[str, Any] = {
        "observations": start,
        "actions": actions,
        "rewards": (start + STEP.numpy()[actions, None])[:, 0],
        "next_observations": start + STEP.numpy()[actions, None],
        "truncations": np.arange(rows) % 5 == 4,
        "action_space": Discrete(3),
    }
    return transitions(rows, **{**arrays, **changes})


def shifted() -> Transitions:
    """The same actions, called 5, 6 and 7."""
    return numbers(actions=numbers().actions + 5, action_space=Discrete(3, start=5))


def toy(**options: Any) -> PenalizedModel:
    """A perfect model of the same system: it sees the actions one-hot."""
    model = StubEnsemble(1, 3, mean=lambda s, a: (s + (a @ STEP)[:, None], s[:, 0] + a @ STEP))
    return PenalizedModel(model, numbers(), penalty="none", **options)


class TestTransitions:
    """Numbers stay numbers."""

    def test_kept_as_integers(self) -> None:
        """Whatever type they came in; how wide they are for a model is another matter."""
        for given in (np.int8, np.uint64, np.float64):
            kept = numbers(actions=numbers().actions.astype(given))
            assert (kept.actions.dtype, kept.actions.shape, kept.action_dim) == (np.int64, (60,), 3)
            assert not kept.actions.flags.writeable

    def test_a_column_of_whole_floats_is_welcome(self) -> None:
        """Replay buffers and tables hold them so."""
        column = numbers(actions=numbers().actions[:, None].astype(float))
        assert column.fingerprint == numbers().fingerprint

    def test_a_first_number_other_than_zero(self) -> None:
        assert set(shifted().actions.tolist()) == {5, 6, 7}
        assert shifted().fingerprint != numbers().fingerprint

    @pytest.mark.parametrize(
        ("value", "message"),
        [
            (3, r"actions: found 3.0 at episode 1, step 2 \(row 7\), outside Discrete\(3\); 1 such row in all"),
            (-1, r"actions: found -1.0 at episode 1, step 2.*Expected whole numbers from 0 to 2"),
            (0.5, r"actions: found 0\.5 at episode 1, step 2.*Expected whole numbers from 0 to 2"),
            (1e300, r"actions: found 1e\+300 at episode 1, step 2"),
            (np.nan, r"actions: found nan at episode 1, step 2 \(row 7, column 0\)"),
        ],
    )
    def test_a_number_that_no_action_has_is_refused(self, value: float, message: str) -> None:
        actions = numbers().actions.astype(float)
        actions[7] = value
        with pytest.raises(DatasetError, match=message):
            numbers(actions=actions)

    def test_other_forms_are_refused(self) -> None:
        """Each message says what discrete actions look like."""
        with pytest.raises(
            DatasetError, match=r"found shape \(60, 3\), expected \(rows,\) of numbers in Discrete\(3\)"
        ):
            numbers(actions=np.eye(3)[numbers().actions])
        with pytest.raises(DatasetError, match=r"found the type <U1, expected whole numbers"):
            numbers(actions=np.full(60, "1"))
        with pytest.raises(DatasetError, match=r"found shape \(60,\).*action_space=gymnasium\.spaces\.Discrete\(n\)"):
            numbers(action_space=None)
        with pytest.raises(DatasetError, match=r"Discrete\(1000000000000\), expected at most 10,000 discrete"):
            numbers(action_space=Discrete(10**12))

    def test_rewards_are_relabelled_by_the_numbers(self) -> None:
        """As with termination rules, a user's function sees the user's own actions."""
        relabelled = relabel(numbers(), lambda s, a, s2: s2[:, 0] - a)
        np.testing.assert_allclose(relabelled.rewards, numbers().rewards - numbers().actions, rtol=1e-5)

    def test_a_table_has_them_in_one_column(self, tmp_path: Path) -> None:
        rows = [f"{s},{a},{r}" for s, a, r in zip([0.5, 1, 2], [2, 0, 1], [3, 4, 5], strict=True)]
        path = tmp_path / "log.csv"
        path.write_text("\n".join(["x,a,r", *rows]) + "\n")
        loaded = load_table(path, observations=["x"], actions=["a"], reward="r", action_space=Discrete(3))
        assert (loaded.actions.tolist(), loaded.action_space) == ([2, 0], Discrete(3))
        with pytest.raises(DatasetError, match=r"log\.csv: actions: found 2\.0 at episode 0, step 0.*from 0 to 1"):
            load_table(path, observations=["x"], actions=["a"], reward="r", action_space=Discrete(2))

    def test_how_many_there_are_is_part_of_the_fingerprint(self) -> None:
        assert numbers(action_space=Discrete(4)).fingerprint != numbers().fingerprint

    def test_our_files_keep_them(self, tmp_path: Path) -> None:
        for saved in (numbers(), shifted()):
            save_transitions(saved, tmp_path / saved.fingerprint)
            loaded = load_transitions(tmp_path / saved.fingerprint)
            assert (loaded.fingerprint, loaded.action_space) == (saved.fingerprint, saved.action_space)

    def test_minari_keeps_them(self) -> None:
        whole = Transitions.from_episodes(_walks(), action_space=Discrete(3))
        save_minari(whole, "toy/numbers-v0")
        loaded = load_minari("toy/numbers-v0")
        assert (loaded.fingerprint, loaded.action_space) == (whole.fingerprint, Discrete(3))

    def test_replay_buffers_keep_them(self) -> None:
        """Stable-Baselines3 holds a column of integers."""
        buffer = ReplayBuffer(10, Box(-1, 1, (2,)), Discrete(3), device="cpu")
        for action in (2, 0, 1):
            zeros, done = np.zeros((1, 2), dtype=np.float32), np.array([False])
            buffer.add(zeros, zeros, np.array([[action]]), np.zeros(1), done, [{}])
        assert transitions_from_replay_buffer(buffer, Discrete(3)).actions.tolist() == [2, 0, 1]


class TestModel:
    """It sees the numbers one-hot, in the fit and in the rollouts."""

    @pytest.mark.parametrize("start", [0, 5, -2])
    def test_one_column_for_each_number(self, start: int) -> None:
        """Written out by hand: the space's first number is column 0."""
        columns = [[0, 0, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1]]
        space = Discrete(3, start=start)
        four = numbers(4, actions=np.array([2, 0, 1, 2]) + start, action_space=space)
        assert four.encoded_actions().tolist() == columns
        assert four.encoded_actions().dtype == np.float32
        penalized_model = PenalizedModel(toy().model, four, penalty="none")
        assert penalized_model._encode(torch.tensor([2, 0, 1, 2]) + start).tolist() == columns

    def test_model_and_rollouts_see_the_same_columns(self) -> None:
        """Fitted on effects that no order of the numbers explains, the ensemble predicts each action's own effect.

        Action 1 lies between 0 and 2 as a number, and its effect does not: a model given the number itself, or other
        columns in the fit than in the rollouts, is far off.
        """
        effects = np.array([1.0, -3.0, 2.0])
        random = np.random.default_rng(0)
        actions = random.integers(3, size=1_000)
        states = random.uniform(-1, 1, size=(1_000, 1))
        following = states + effects[actions, None]
        columns = {"observations": states, "actions": actions + 7, "next_observations": following}
        data = transitions(rewards=np.zeros(1_000), action_space=Discrete(3, start=7), **columns)
        sizes: dict[str, Any] = {"num_members": 2, "num_elites": 1, "hidden_sizes": (16,), "weight_decay": (0.0, 0.0)}
        config = FitConfig(learning_rate=0.01, max_epochs=15, batch_size=32, **sizes)
        model = fit_ensemble(data, config, progress=False)
        assert model.action_dim == 3
        model.max_logvar.fill_(-20.0)  # no noise, to see the mean
        model.min_logvar.fill_(-20.0)
        penalized_model = PenalizedModel(model, data, penalty="none")
        step = penalized_model.step(torch.zeros(3, 1), torch.tensor([7, 8, 9]), torch.Generator().manual_seed(0))
        np.testing.assert_allclose(step.next_observations[:, 0].numpy(), effects, atol=0.3)


class TestEnvironments:
    """The same contract as with boxes."""

    def test_both_checkers_pass(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            check_env(PenalizedModelEnv(toy(), horizon=4), skip_render_check=True)
            check_env_for_sb3(PenalizedModelEnv(toy(), horizon=4))

    def test_a_step_is_that_of_the_number(self) -> None:
        env = PenalizedModelEnv(toy(), horizon=9)
        for action, change in enumerate(STEP.tolist()):
            start, _ = env.reset(seed=action)
            observation, reward, *_ = env.step(action)
            assert observation == pytest.approx(start + change, abs=1e-6)
            assert reward == pytest.approx(start[0] + change, abs=1e-6)

    def test_a_first_number_other_than_zero_is_taken_off(self) -> None:
        env = PenalizedModelEnv(PenalizedModel(toy().model, shifted(), penalty="none"), horizon=9)
        start, _ = env.reset(seed=0)
        assert env.step(7)[0] == pytest.approx(start + 2.0, abs=1e-6)
        with pytest.raises(InputError, match="whole numbers from 5 to 7, found 2"):
            env.step(2)

    def test_vector_environments(self) -> None:
        vector_env = PenalizedModelVectorEnv(toy(), num_envs=3, horizon=9)
        assert vector_env.action_space == MultiDiscrete([3, 3, 3])
        start, _ = vector_env.reset(seed=0)
        observations, *_ = vector_env.step(np.array([0, 1, 2]))
        np.testing.assert_allclose(observations[:, 0], start[:, 0] + STEP.numpy(), atol=1e-6)
        vec_env = PenalizedModelVecEnv(toy(), num_envs=3, horizon=9)
        start = vec_env.reset()
        np.testing.assert_allclose(vec_env.step(np.array([2, 2, 0]))[0], start + np.array([[2], [2], [-1]]), atol=1e-6)

    @pytest.mark.parametrize("action", [3, -1, 0.0, None])
    def test_bad_actions_are_refused(self, action: Any) -> None:
        env = PenalizedModelEnv(toy(), horizon=9)
        env.reset(seed=0)
        with pytest.raises(InputError, match="action: "):
            env.step(action)

    @pytest.mark.parametrize("actions", [[0, 1, 3], [-1, 0, 0], [[0], [1], [2]], [0, 1, np.nan]])
    def test_bad_batches_are_refused(self, actions: Any) -> None:
        """By both vector environments, and before anything moves."""
        vector_env = PenalizedModelVectorEnv(toy(), num_envs=3, horizon=9)
        vec_env = PenalizedModelVecEnv(toy(), num_envs=3, horizon=9)
        vector_env.reset(seed=0)
        vec_env.reset()
        for env in (vector_env, vec_env):
            with pytest.raises(InputError, match="actions: "):
                env.step(np.array(actions))
            assert env.rollouts._lengths.tolist() == [0, 0, 0]

    def test_random_rollouts_of_a_vector_environment(self) -> None:
        """Whatever its own action space draws is welcome, also where the first number is not zero."""
        env = PenalizedModelVectorEnv(PenalizedModel(toy().model, shifted(), penalty="none"), num_envs=50, horizon=9)
        env.action_space.seed(0)
        before, _ = env.reset(seed=0)
        for _ in range(8):
            actions = env.action_space.sample()
            after, *_ = env.step(actions)
            np.testing.assert_allclose(after[:, 0], before[:, 0] + STEP.numpy()[actions - 5], atol=1e-5)
            before = after

    def test_rules_see_the_numbers_and_penalties_see_them_one_hot(self) -> None:
        """Users write rules in terms of their own actions; a model's prediction is what the model was given."""
        seen: dict[str, torch.Tensor] = {}

        def rule(s: torch.Tensor, a: torch.Tensor, s2: torch.Tensor) -> torch.Tensor:
            seen["rule"] = a
            return a == 2

        def penalty(prediction: Any) -> torch.Tensor:
            seen["penalty"] = prediction.actions
            return torch.zeros(len(prediction.observations))

        penalized_model = PenalizedModel(toy().model, numbers(), penalty=penalty, termination=rule)
        step = penalized_model.step(torch.zeros(3, 1), torch.tensor([0, 2, 1]), torch.Generator())
        assert seen["rule"].tolist() == [0, 2, 1]
        assert seen["penalty"].argmax(dim=1).tolist() == [0, 2, 1]
        assert step.terminations.tolist() == [False, True, False]


class TestAgents:
    """DQN and PPO act; SAC cannot."""

    def test_the_best_action_is_found(self) -> None:
        """Every state is best left by the largest step."""
        agent = make_agent("DQN", toy(), horizon=4, rollout_batch_size=64, gradient_steps=150, gamma=0.5)
        agent.learn(6 * 256, log_interval=None)  # type: ignore[arg-type]
        assert agent.predict(np.zeros((1, 1), dtype=np.float32), deterministic=True)[0] == [2]

    def test_agents_count_from_zero(self) -> None:
        """They would choose 0 where the first action is called 5."""
        penalized_model = PenalizedModel(toy().model, shifted(), penalty="none")
        with pytest.raises(ConfigError, match="agents number actions from 0, and the dataset from 5"):
            make_agent("DQN", penalized_model, horizon=4, rollout_batch_size=4)

    @pytest.mark.parametrize("name", ["DQN", "QRDQN"])
    def test_the_share_of_real_rows_is_exact(self, name: str) -> None:
        """Real rows are told by their reward; their numbers come along unchanged."""
        marked = numbers(rewards=np.arange(60) + 1_000.0)
        penalized_model = PenalizedModel(toy().model, marked, penalty="none")
        agent = make_agent(name, penalized_model, horizon=4, rollout_batch_size=16, gradient_steps=1, real_ratio=0.25)
        agent.learn(64, log_interval=None)  # type: ignore[arg-type]
        buffer: Any = agent.replay_buffer
        batch = buffer.sample(40)
        assert (batch.actions.dtype, batch.actions.shape) == (torch.int64, (40, 1))
        rewards = batch.rewards[:, 0]
        real = rewards >= 1_000
        assert real.sum() == 10
        rows = (rewards[real] - 1_000).long().numpy()
        np.testing.assert_array_equal(batch.actions[real, 0].numpy(), marked.actions[rows])

    def test_a_buffer_for_boxes_refuses_numbers(self) -> None:
        buffer = MixedReplayBuffer(8, Box(-1, 1, (1,)), Box(-1, 1, (1,)), device="cpu")
        with pytest.raises(SpaceMismatchError, match=r"Discrete\(3\), but the buffer was made for Box"):
            buffer.attach(numbers())

    def test_random_rollouts_draw_every_number_alike(self) -> None:
        agent = make_agent("DQN", toy(), horizon=1, rollout_batch_size=3000, gradient_steps=1, random_rollouts=True)
        agent.learn(3000, log_interval=None)  # type: ignore[arg-type]
        buffer: Any = agent.replay_buffer
        counts = np.bincount(buffer.actions[: buffer.pos].ravel(), minlength=3)
        assert (abs(counts - 1000) < 5 * np.sqrt(3000 * 2 / 9)).all()


class TestCartPole:
    """A task without MuJoCo, from the collection to an evaluation."""

    def test_the_rule_is_the_real_environment_s(self) -> None:
        env: Any = gym.make("CartPole-v1").unwrapped
        env.reset(seed=0)
        random = np.random.default_rng(0)
        states = random.uniform([-2.6, -3, -0.26, -3], [2.6, 3, 0.26, 3], size=(10_000, 4))
        following, terminated = [], []
        for state in states:
            env.state, env.steps_beyond_terminated = state, None
            observation, _, ended, *_ = env.step(int(random.integers(2)))
            following.append(observation)
            terminated.append(ended)
        assert 0.2 < np.mean(terminated) < 0.8
        after = torch.tensor(np.array(following))
        found = cartpole(after, torch.zeros(len(after), dtype=torch.int64), after)
        assert found.tolist() == terminated

    def test_from_collection_to_evaluation(self, tmp_path: Path) -> None:
        """The plumbing, in seconds; the slow test below asks for a good policy."""
        transitions = collect(CollectConfig(task="cartpole-mixed", steps=1_500), progress=False)
        assert (len(transitions), transitions.action_space, transitions.observation_dim) == (1_500, Discrete(2), 4)
        again = collect(CollectConfig(task="cartpole-mixed", steps=1_500), progress=False)
        assert again.fingerprint == transitions.fingerprint
        assert transitions.terminations.any()
        folder = user_folder() / "cartpole-mixed"
        save_transitions(transitions, folder)
        config = FitConfig(max_epochs=2, hidden_sizes=(16,), weight_decay=(0.0, 0.0), num_members=2, num_elites=1)
        save_ensemble(fit_ensemble(transitions, config, progress=False), folder)
        env = gym.make("MOPO-cartpole-mixed")
        assert env.action_space == make_real_env("cartpole-mixed").action_space == Discrete(2)
        run = TrainConfig(
            task="cartpole-mixed", agent="DQN", epochs=2, gradient_steps=10, rollout_batch_size=20, evaluate_every=1
        )
        result = train(run, folder=tmp_path / "run", progress=False)
        assert result.final is not None
        assert result.final.normalised is None
        loaded = load_policy(tmp_path / "run")
        assert evaluate(loaded, "cartpole-mixed", seed=evaluation_seed(0, 2)).returns == result.final.returns

    def test_a_policy_for_other_numbers_is_refused(self, tmp_path: Path) -> None:
        agent = make_agent("DQN", toy(), horizon=1, rollout_batch_size=4)
        with pytest.raises(SpaceMismatchError):
            evaluate(agent, "cartpole-mixed")

    def test_the_program_in_the_documentation_runs(self, tmp_path: Path) -> None:
        """As it stands there, but for its sizes."""
        text = (Path(__file__).resolve().parents[2] / "docs" / "discrete.md").read_text()
        (program,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
        small = re.sub(r"^(EPISODES, .*) = .*$", r"\1 = 6, 1, 1, 20, 5, 5", program, flags=re.MULTILINE)
        assert small != program
        command = [sys.executable, "-c", small]
        result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
        assert result.returncode == 0, result.stderr
        assert re.fullmatch(r"return of the data \d+, of DQN \d+\n", result.stdout)

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("agent", "options", "expected"),
        [
            # DQN wavers (docs/discrete.md); the data's mean episode is 106.
            ("DQN", {"epochs": 40, "rollout_batch_size": 500}, 160),
            ("PPO", {"epochs": 40, "rollout_batch_size": 256}, 400),
        ],
    )
    def test_learns_to_balance(self, agent: str, options: dict[str, Any], expected: float, tmp_path: Path) -> None:
        """Collect, fit, train, with the commands of docs/discrete.md."""
        transitions = collect(CollectConfig(task="cartpole-mixed", steps=30_000), progress=False)
        folder = user_folder() / "cartpole-mixed"
        save_transitions(transitions, folder)
        save_ensemble(fit_ensemble(transitions, FitConfig(max_epochs=30), progress=False), folder)
        run = TrainConfig(task="cartpole-mixed", agent=agent, evaluate_every=options["epochs"], **options)
        result = train(run, folder=tmp_path / "run", progress=False)
        assert result.final is not None
        assert result.final.mean >= expected


def _walks() -> list[Any]:
    from mopo_env.transitions import Episode

    random = np.random.default_rng(1)
    return [
        Episode(observations=random.normal(size=(5, 1)), actions=random.integers(3, size=4), rewards=np.zeros(4))
        for _ in range(3)
    ]
