"""DQN, Double DQN and their averaged weights on CartPole: `python benchmarks/dqn.py cartpole --double --seed 0`.

`cartpole` is the folder that `mopo collect cartpole-mixed` and `mopo fit` made (docs/discrete.md).
"""

from __future__ import annotations

import copy

import numpy as np
import torch
import tyro
from stable_baselines3 import DQN
from stable_baselines3.common.callbacks import BaseCallback
from torch.nn import functional

import mopo_env
from mopo_agents import evaluate, make_agent

HORIZON, ROLLOUTS = 20, 500
AVERAGING_RATE = 5e-4


class DoubleDQN(DQN):
    """DQN whose online network chooses the action that the target network values (van Hasselt et al., 2016)."""

    def train(self, gradient_steps: int, batch_size: int = 100) -> None:
        """Do the updates; all but the target is Stable-Baselines3's."""
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        for _ in range(gradient_steps):
            batch = self.replay_buffer.sample(batch_size, env=self._vec_normalize_env)
            with torch.no_grad():
                best = self.q_net(batch.next_observations).argmax(dim=1, keepdim=True)
                following = self.q_net_target(batch.next_observations).gather(1, best)
                target = batch.rewards + (1 - batch.dones) * self.gamma * following
            loss = functional.smooth_l1_loss(self.q_net(batch.observations).gather(1, batch.actions.long()), target)
            self.policy.optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.policy.parameters(), self.max_grad_norm)
            self.policy.optimizer.step()
        self._n_updates += gradient_steps


class Averaged:
    """The greedy policy of a running mean of the network's weights."""

    def __init__(self, agent: DQN) -> None:
        """Follow the agent's updates."""
        self.observation_space, self.action_space = agent.observation_space, agent.action_space
        self.network = copy.deepcopy(agent.q_net).requires_grad_(False)
        agent.policy.optimizer.register_step_post_hook(lambda *_: self._follow(agent))

    @torch.no_grad()
    def _follow(self, agent: DQN) -> None:
        for mine, theirs in zip(self.network.parameters(), agent.q_net.parameters(), strict=True):
            mine.lerp_(theirs, AVERAGING_RATE)

    def predict(self, observation: np.ndarray, *_: object, **__: object) -> tuple[np.ndarray, None]:
        """Return the best actions."""
        with torch.no_grad():
            return self.network(torch.as_tensor(observation)).argmax(dim=1).numpy(), None


class Report(BaseCallback):
    """Print the returns of both policies every five epochs."""

    def __init__(self, averaged: Averaged) -> None:
        """Keep the second policy."""
        super().__init__()
        self.averaged, self.epoch = averaged, 0

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        if self.epoch and self.epoch % 5 == 0:
            self.show()
        self.epoch += 1

    def show(self) -> None:
        """Print one line."""
        found = [evaluate(policy, "cartpole-mixed", seed=self.epoch).mean for policy in (self.model, self.averaged)]
        print(f"epoch {self.epoch}: last weights {found[0]:.1f}, averaged weights {found[1]:.1f}")


def main(dataset: tyro.conf.Positional[str], double: bool = False, seed: int = 0, epochs: int = 40) -> None:
    """Train one agent.

    Args:
        dataset: The folder of data and ensemble.
        double: Whether to train Double DQN.
        seed: Seed of the agent.
        epochs: Epochs of 10,000 model transitions and 1000 updates.
    """
    penalized_model = mopo_env.make_penalized_model("cartpole-mixed", dataset=dataset)
    agent_class = DoubleDQN if double else DQN
    agent = make_agent(agent_class, penalized_model, horizon=HORIZON, rollout_batch_size=ROLLOUTS, seed=seed)
    report = Report(Averaged(agent))
    agent.learn(epochs * ROLLOUTS * HORIZON, log_interval=None, callback=report)
    report.show()


if __name__ == "__main__":
    tyro.cli(main)
