"""Rollouts in batches collect what Stable-Baselines3's own loop collects, and keep its books."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.noise import NormalActionNoise

from mopo_agents.agents import make_agent
from mopo_agents.sb3 import batched_rollouts
from mopo_agents.sb3.batched_rollouts import BatchedRollouts
from mopo_agents.sb3.compose import compose
from mopo_env.envs.penalized_model import PenalizedModel
from mopo_env.errors import InputError
from mopo_env.toys import StubEnsemble
from mopo_env.transitions import Transitions

B, H = 24, 4


def penalized_model(*, numbered: bool = False) -> PenalizedModel:
    """A world whose rollouts end at the horizon, before it, and at both at once."""
    random = np.random.default_rng(0)
    low, high = np.float32([-2.0, 0.0]), np.float32([1.0, 5.0])
    actions = random.integers(0, 3, 30) if numbered else random.uniform(low, high, (30, 2))
    transitions = Transitions(
        observations=random.normal(size=(30, 3)),
        actions=actions,
        rewards=random.normal(size=30),
        next_observations=random.normal(size=(30, 3)),
        terminations=np.zeros(30, dtype=bool),
        truncations=np.zeros(30, dtype=bool),
        action_space=Discrete(3) if numbered else Box(low, high, dtype=np.float32),
    )
    model = StubEnsemble(3, 3 if numbered else 2, mean=lambda s, a: (s + 0.1 * a[:, :1], s[:, 0] + a[:, 1]), std=0.5)
    return PenalizedModel(model, transitions, termination=lambda s, a, s2: s2[:, 0] > 1.2)


def pair(name: str, **options: Any) -> list[Any]:
    """Return an agent that rolls out in batches, and one of the same weights and seeds that does not."""
    policy = {"net_arch": [8], **options.pop("policy_kwargs", {})}
    world = penalized_model(numbered=name in ("DQN", "QRDQN"))
    sizes = {"horizon": H, "rollout_batch_size": B, "retain_epochs": 2, "seed": 5}
    return [make_agent(name, world, policy_kwargs=policy, fast=fast, **{**sizes, **options}) for fast in (True, False)]


ARRAYS = ("rewards", "dones", "new_obs", "actions", "buffer_actions", "num_collected_steps", "num_collected_episodes")


class Records(BaseCallback):
    """Keeps what a callback can see of each step."""

    def __init__(self, stop_after: int | None = None) -> None:
        super().__init__()
        self.seen: list[dict[str, Any]] = []
        self.events: list[str] = []
        self.names: set[str] = set()
        self._stop_after = stop_after

    def _on_rollout_start(self) -> None:
        self.events.append("start")

    def _on_rollout_end(self) -> None:
        self.events.append("end")

    def _on_step(self) -> bool:
        self.names |= set(self.locals)
        seen = {name: np.array(self.locals[name]) for name in ARRAYS}
        self.seen.append({**seen, "infos": list(self.locals["infos"]), "steps": self.num_timesteps})
        return len(self.seen) != self._stop_after


def learn(agent: Any, epochs: int = 3, **options: Any) -> Records:
    records = Records(options.pop("stop_after", None))
    agent.gradient_steps = 0  # what is learned from the rows is not the question here
    with torch.random.fork_rng():
        torch.random.default_generator.manual_seed(1)
        agent.learn(epochs * B * H, callback=records, **{"log_interval": None, **options})
    return records


COLUMNS = ("observations", "actions", "next_observations", "rewards", "dones", "timeouts")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("SAC", {}),
        ("SAC", {"random_rollouts": True}),
        ("SAC", {"standardise": True}),
        ("SAC", {"learning_starts": 2 * B}),
        ("TD3", {}),
        ("TD3", {"action_noise": NormalActionNoise(np.zeros(2), np.full(2, 0.3))}),
        ("DDPG", {}),
        ("TQC", {}),
        ("DQN", {}),
        ("QRDQN", {}),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_the_buffer_holds_what_the_loop_of_stable_baselines_stores(name: str, options: dict[str, Any]) -> None:
    """Three epochs into a buffer of two: ends, restarts, last states, scaled actions, and the ring's turn."""
    found, expected = pair(name, **options)
    assert isinstance(found, BatchedRollouts)
    assert not isinstance(expected, BatchedRollouts)
    for agent in (found, expected):
        np.random.seed(2)  # noqa: NPY002  # noise draws from the global generator
        agent.action_space.seed(3)
        learn(agent)
    for column in COLUMNS:
        one, other = (getattr(agent.replay_buffer, column) for agent in (found, expected))
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5, err_msg=column)
    buffer = found.replay_buffer
    assert buffer.full
    ends = buffer.dones.astype(bool), buffer.timeouts.astype(bool)
    assert (ends[0] & ends[1]).any(), "some rollouts reach the horizon"
    assert (ends[0] & ~ends[1]).any(), "some die"
    for book in ("num_timesteps", "_episode_num", "_current_progress_remaining"):
        assert getattr(found, book) == getattr(expected, book)
    np.testing.assert_allclose(found._last_obs, expected._last_obs, atol=1e-5)
    ours, theirs = ([(info["l"], info["r"]) for info in agent.ep_info_buffer] for agent in (found, expected))
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


@pytest.mark.parametrize("name", ["SAC", "DQN"])
def test_callbacks_see_the_same(name: str) -> None:
    """Someone's own callback must not know which loop it is in."""
    one, other = (learn(agent) for agent in pair(name))
    assert one.names >= other.names - {"idx", "done"}  # of the loop over the environments, in the step before
    assert one.events == other.events == ["start", "end"] * 3
    assert len(one.seen) == len(other.seen) == 3 * H
    for ours, theirs in zip(one.seen, other.seen, strict=True):
        assert ours["steps"] == theirs["steps"]
        for array in ARRAYS:
            assert ours[array].dtype == theirs[array].dtype, array
            np.testing.assert_allclose(ours[array], theirs[array], atol=1e-5, err_msg=array)
        for info, expected in zip(ours["infos"], theirs["infos"], strict=True):
            assert info.keys() == expected.keys()
            np.testing.assert_allclose(info["penalty"], expected["penalty"], atol=1e-5)
            assert info.get("TimeLimit.truncated") == expected.get("TimeLimit.truncated")
            if "terminal_observation" in info:
                np.testing.assert_allclose(info["terminal_observation"], expected["terminal_observation"], atol=1e-5)
                assert info["episode"]["l"] == expected["episode"]["l"]


def test_rollouts_are_acted_in_evaluation_mode() -> None:
    """Batch norm and dropout would act otherwise; the updates before left the policy in training mode."""
    agent = pair("SAC")[0]
    agent.policy.set_training_mode(True)
    learn(agent, 1)
    assert not agent.policy.training


def test_a_callback_may_stop_the_rollout() -> None:
    """Before the step is stored, as in Stable-Baselines3's loop."""
    agents = pair("SAC")
    for agent in agents:
        records = learn(agent, stop_after=H + 2)
        assert records.events == ["start", "end", "start"]
    found, expected = agents
    assert found.num_timesteps == expected.num_timesteps == (H + 2) * B
    assert found.replay_buffer.pos == expected.replay_buffer.pos == H + 1


def test_no_object_is_made_for_a_transition_unless_someone_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """This is the saving: 50,000 dictionaries a step."""
    made: list[Any] = []
    infos = batched_rollouts.RolloutInfos

    def spy(step: Any) -> Any:
        made.append(infos(step))
        return made[-1]

    monkeypatch.setattr(batched_rollouts, "RolloutInfos", spy)
    agent = pair("SAC")[0]
    agent.gradient_steps = 0
    agent.learn(B * H, log_interval=None)
    assert len(made) == H
    assert not any("_infos" in vars(each) for each in made)
    learn(agent, 1)
    assert all("_infos" in vars(each) for each in made[H:])


def test_logs_come_as_often_as_asked() -> None:
    agent = pair("SAC")[0]
    dumped: list[int] = []
    agent.dump_logs = lambda: dumped.append(agent._episode_num)
    learn(agent, log_interval=B)
    assert [count // B for count in dumped] == list(range(1, agent._episode_num // B + 1))


def test_a_policy_that_breaks_down_is_an_error() -> None:
    """The model would answer NaN with NaN, which counts as a death, and training would go on with nothing learned."""
    agent = pair("TD3")[0]
    with torch.no_grad():
        agent.actor.mu[-2].bias.fill_(torch.nan)
    with pytest.raises(InputError, match="not finite"):
        learn(agent)


def test_many_rows_are_acted_on_in_parts_and_come_back_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """TD3's actor is deterministic, so that the parts can be compared with the whole."""
    monkeypatch.setattr(batched_rollouts, "_ROWS_AT_ONCE", 7)
    found, expected = pair("TD3")
    for agent in (found, expected):
        learn(agent, 1)
    np.testing.assert_allclose(found.replay_buffer.actions, expected.replay_buffer.actions, atol=1e-5)


def test_classes_with_a_loop_of_their_own_keep_it() -> None:
    for name in ("collect_rollouts", "_store_transition", "_update_info_buffer"):
        mine = type("Mine", (SAC,), {name: lambda *_: None})
        assert not BatchedRollouts.fits(mine)
        assert not issubclass(compose(mine), BatchedRollouts)
    assert issubclass(compose(SAC), BatchedRollouts)
    on_policy = make_agent("PPO", penalized_model(), horizon=H, rollout_batch_size=B, batch_size=B)
    assert type(on_policy) is PPO


def test_a_policy_that_chooses_by_itself_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent or a policy with a `predict` of its own, SBX's for one, must have the last word."""
    mine = type("Mine", (SAC,), {"predict": lambda self, *_, **__: (np.full((B, 2), [0.5, 2.0], np.float32), None)})
    agent: Any = make_agent(mine, penalized_model(), horizon=H, rollout_batch_size=B)
    assert isinstance(agent, BatchedRollouts)
    learn(agent, 1)
    np.testing.assert_allclose(agent.replay_buffer.actions[:H], np.broadcast_to([2 / 3, -0.2], (H, B, 2)), atol=1e-6)


def test_another_environment_is_stepped_as_ever() -> None:
    """An agent made here may learn on in a real environment, with Stable-Baselines3's own buffer and loop."""
    import gymnasium as gym
    from stable_baselines3.common.buffers import ReplayBuffer
    from stable_baselines3.common.env_util import make_vec_env

    agent: Any = make_agent("SAC", penalized_model(), horizon=H, rollout_batch_size=B)
    space = agent.observation_space, agent.action_space

    class Other(gym.Env[Any, Any]):
        observation_space, action_space = space

        def reset(self, **_: Any) -> Any:
            return np.zeros(3, np.float32), {}

        def step(self, action: Any) -> Any:
            return np.ones(3, np.float32), 1.0, False, True, {}

    env = make_vec_env(Other, n_envs=B)
    agent.replay_buffer = ReplayBuffer(B * H, *space, device="cpu", n_envs=B)
    agent.set_env(env)
    agent.gradient_steps = 0
    agent.learn(B * H, log_interval=None)
    assert (agent.replay_buffer.rewards == 1.0).all()
