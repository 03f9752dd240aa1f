"""Returns in the real environment: exact, repeatable, and without a trace in the agent or the global generators."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box

from mopo_agents.agents import make_agent
from mopo_agents.evaluation import Evaluation, evaluate, evaluation_seed
from mopo_env.datasets.locate import resolve_task
from mopo_env.envs.penalized_model import PenalizedModel
from mopo_env.errors import ConfigError, SpaceMismatchError, UnknownNameError
from mopo_env.real.real_env import make_real_env
from mopo_env.tasks import get_task
from mopo_env.toys import StubEnsemble
from mopo_env.transitions import Transitions

pytest.importorskip("mujoco")


class Constant:
    """A policy that always pushes the same way, and remembers how it was asked."""

    def __init__(self, action_dim: int, value: float = 0.1) -> None:
        self.action = np.full(action_dim, value, dtype=np.float32)
        self.asked: list[tuple[tuple[int, ...], bool]] = []

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[np.ndarray, Any]:
        self.asked.append((observation.shape, deterministic))
        return np.tile(self.action, (len(observation), 1)), None


def replay(task: str, policy: Constant, seed: int) -> tuple[float, int]:
    """Run one episode by hand."""
    env = make_real_env(task)
    env.reset(seed=seed)
    total, length, done = 0.0, 0, False
    while not done:
        _, reward, terminated, truncated, _ = env.step(policy.action)
        total, length, done = total + float(reward), length + 1, terminated or truncated
    env.close()
    return total, length


def test_returns_are_those_of_whole_episodes() -> None:
    """Against a loop by hand, in Hopper, whose episodes end early and at different times.

    With fewer environments than episodes the short episodes would come in again and again and the mean be theirs.
    """
    policy = Constant(3)
    evaluation = evaluate(policy, "hopper-mixed", episodes=4, seed=2)
    expected = [replay("hopper-mixed", policy, 1_002_000 + index) for index in range(4)]
    assert len({length for _, length in expected}) > 1  # else the order would not show
    assert sorted(evaluation.lengths) == sorted(length for _, length in expected)
    # SB3's Monitor rounds a return to six digits after the point.
    by_length = sorted(zip(evaluation.lengths, evaluation.returns, strict=True))
    np.testing.assert_allclose(
        [total for _, total in by_length], [total for total, _ in sorted(expected, key=lambda e: e[::-1])], atol=1e-6
    )


def test_the_same_seed_gives_the_same_returns() -> None:
    """Two policies are compared on the same starts."""
    policy = Constant(6)
    first, again, other = (evaluate(policy, "halfcheetah-mixed", episodes=2, seed=seed) for seed in (0, 0, 5))
    assert first == again
    assert first.returns != other.returns
    assert first.lengths == (1000, 1000)
    assert first.returns[0] != first.returns[1]  # two starts, not one twice


def test_the_policy_is_asked_for_its_mean_action_for_all_episodes_at_once() -> None:
    """The paper evaluates without exploration noise."""
    policy = Constant(3)
    evaluate(policy, "hopper-mixed", episodes=2)
    assert set(policy.asked) == {((2, 11), True)}


def test_normalised_is_d4rls_formula() -> None:
    """0 is D4RL's random policy (−280.178953), 100 its expert (12135)."""
    evaluation = evaluate(Constant(6), get_task("halfcheetah-mixed"), episodes=1)
    assert evaluation.normalised == pytest.approx(100 * (evaluation.returns[0] + 280.178953) / (12135 + 280.178953))


@pytest.mark.parametrize(("task", "action_dim"), [("halfcheetah-jump", 6), ("ant-angle", 8)])
def test_the_relabelled_tasks_are_evaluated_by_their_own_reward(task: str, action_dim: int) -> None:
    """And have no normalised score, since D4RL's references belong to other rewards."""
    policy = Constant(action_dim)
    evaluation = evaluate(policy, task, episodes=1)
    assert evaluation.normalised is None
    total, length = replay(task, policy, 1_000_000)
    assert evaluation.lengths == (length,)
    assert evaluation.returns[0] == pytest.approx(total, abs=1e-6)


def test_mean_and_spread_are_over_episodes() -> None:
    evaluation = Evaluation(returns=(1.0, 3.0, 8.0), lengths=(1, 1, 1), normalised=0.0)
    assert evaluation.mean == 4.0
    assert evaluation.std == pytest.approx((26 / 3) ** 0.5)  # (9 + 1 + 16) / 3


def test_an_evaluation_leaves_no_trace() -> None:
    """It is for the log only: an evaluated run must go on exactly as one that was not."""
    rows = np.zeros((2, 17), dtype=np.float32)
    flags = np.zeros(2, dtype=bool)
    transitions = Transitions(
        observations=rows,
        actions=np.zeros((2, 6)),
        rewards=np.zeros(2),
        next_observations=rows,
        terminations=flags,
        truncations=flags,
    )
    model = StubEnsemble(17, 6, mean=lambda states, actions: (states, states[:, 0]), std=0.1)
    agent = make_agent(
        "SAC", PenalizedModel(model, transitions), horizon=2, rollout_batch_size=4, policy_kwargs={"net_arch": [4]}
    )

    def everything() -> list[np.ndarray]:
        kind, keys, *rest = np.random.get_state()  # noqa: NPY002  # the global generator is what this is about
        version, words, gauss = random.getstate()
        assert kind == "MT19937"
        return [
            *(tensor.numpy().copy() for tensor in agent.policy.state_dict().values()),
            np.array(keys),
            np.array(rest),
            np.array(words),
            np.array([version, gauss], dtype=object),
            torch.get_rng_state().numpy(),
            np.array([agent.num_timesteps, agent._n_updates, agent.replay_buffer.pos]),
        ]

    before = everything()
    evaluate(agent, "halfcheetah-mixed", episodes=1)
    for found, expected in zip(everything(), before, strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("episodes", [0, -1, 1.5, True])
def test_a_number_of_episodes_that_is_none_is_refused(episodes: Any) -> None:
    with pytest.raises(ConfigError, match="episodes"):
        evaluate(Constant(6), "halfcheetah-mixed", episodes=episodes)


def test_an_unknown_task_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'halfcheetah-mixed'"):
        evaluate(Constant(6), "halfcheetah-mixd")


@pytest.mark.parametrize(("widths", "name"), [((17, 6), "observation_space"), ((11, 6), "action_space")])
def test_a_policy_of_other_widths_is_refused(widths: tuple[int, int], name: str) -> None:
    """`mopo evaluate --task` with the wrong task should say so, not end in SB3's internals."""
    policy = Constant(3)
    policy.observation_space = Box(-1.0, 1.0, (widths[0],), np.float32)
    policy.action_space = Box(-1.0, 1.0, (widths[1],), np.float32)
    with pytest.raises(SpaceMismatchError, match=f"{name}.*Hopper-v5"):
        evaluate(policy, "hopper-mixed", episodes=1)
    assert policy.asked == []


def test_another_version_of_the_real_environment() -> None:
    """Data of D4RL are of v2, which v4 is nearest to. The policy must act in v4 itself: same seed, other rewards."""
    policy = Constant(3, value=0.3)
    v5, v4 = (evaluate(policy, "hopper-mixed", episodes=2, real_env=name) for name in (None, "Hopper-v4"))
    env = make_real_env(resolve_task("hopper-mixed", real_env="Hopper-v4"))
    assert env.spec is not None
    assert env.spec.id == "Hopper-v4"
    env.reset(seed=1_000_000)
    total, done = 0.0, False
    while not done:
        _, reward, terminated, truncated, _ = env.step(policy.action)
        total, done = total + float(reward), terminated or truncated
    assert v4.returns[0] == pytest.approx(total, abs=1e-5)
    assert v4.returns != v5.returns
    # D4RL's references are for this very robot.
    assert v4.normalised == get_task("hopper-mixed").normalised(v4.mean)


def test_another_environment_has_no_normalised_score() -> None:
    assert evaluate(Constant(1), "hopper-mixed", episodes=1, real_env="InvertedPendulum-v5").normalised is None


@pytest.mark.parametrize("name", ["Nope-v4", "Hopper-v99", "no_such_module:Hopper-v4", "Hopper v4", ""])
def test_an_environment_that_gymnasium_does_not_know(name: str) -> None:
    with pytest.raises(ConfigError, match="Gymnasium cannot make the environment"):
        evaluate(Constant(3), "hopper-mixed", episodes=1, real_env=name)


def test_a_policy_of_another_robot_is_told_the_environment_that_was_asked_for() -> None:
    class Walker(Constant):
        observation_space = Box(-1, 1, (17,))

    with pytest.raises(SpaceMismatchError, match="Hopper-v4"):
        evaluate(Walker(6), "walker2d-mixed", episodes=1, real_env="Hopper-v4")


@pytest.mark.filterwarnings("ignore:.*HalfCheetah-v4 is out of date:DeprecationWarning")
def test_another_version_of_the_environment_can_be_named() -> None:
    """D4RL's own data are nearest to version 4; their scale holds there."""
    evaluation = evaluate(Constant(6), "halfcheetah-mixed", real_env="HalfCheetah-v4", episodes=1)
    assert evaluation.normalised == pytest.approx(100 * (evaluation.returns[0] + 280.178953) / (12135 + 280.178953))
    alone = evaluate(Constant(6), real_env="HalfCheetah-v4", episodes=1)
    assert (alone.returns, alone.normalised) == (evaluation.returns, None)


def test_nowhere_to_evaluate_is_refused() -> None:
    with pytest.raises(ConfigError, match="task: found none"):
        evaluate(Constant(6))


def test_the_evaluations_of_a_run_share_no_starts() -> None:
    """Nor do those of its seeds, nor the command line's own; and no environment is given a seed beyond 32 bits."""
    seeds = [evaluation_seed(seed, epoch) for seed in range(5) for epoch in range(10, 501, 10)]
    assert len(set(seeds)) == len(seeds)
    assert min(seeds) > 10
    assert 1_000_000 + 1000 * (4_000_000 - 1) + 999 < 2**32
    assert evaluation_seed(2**64, 1) < 4_000_000
    assert [evaluation_seed(0, 10), evaluation_seed(0, 20)] == [evaluation_seed(0, 10), evaluation_seed(0, 20)]
