"""Fitted-Q evaluation: the value of a policy from recorded transitions alone (Le, Voloshin and Yue, 2019)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from gymnasium.spaces import Discrete
from torch import Tensor, nn

from mopo_agents.evaluation import Policy
from mopo_agents.trust.model_returns import first_observations
from mopo_env._utils.tensors import mean_and_std
from mopo_env.transitions import Transitions


@dataclass(frozen=True, kw_only=True)
class FittedValue:
    """The result of `fitted_q_evaluation`.

    Attributes:
        value: Mean over the first states s₀ of Q(s₀, π(s₀)): a discounted return.
        error: The root mean squared Bellman error on the data, in the units of the value. If it is not small against
            differences of values, neither is the estimate's error.
    """

    value: float
    error: float


def fitted_q_evaluation(
    policy: Policy,
    transitions: Transitions,
    *,
    gamma: float = 0.99,
    num_updates: int = 10_000,
    batch_size: int = 512,
    learning_rate: float = 1e-3,
    tau: float = 0.005,
    seed: int = 0,
) -> FittedValue:
    """Fit Q^π to the data by r + γ(1 − d)·Q′(s′, π(s′)), and read it off where episodes begin.

    It needs no model. It extrapolates all the same: Q is fitted at recorded actions and asked at the policy's. The
    farther these are apart, the less the value means, and it can diverge.

    Args:
        policy: Anything with Stable-Baselines3's `predict`, continuous or discrete; its deterministic actions count.
        transitions: The data.
        gamma: The discount.
        num_updates: Steps of Adam.
        batch_size: Rows of an update.
        learning_rate: Of Adam, falling to zero.
        tau: Share of the network that its slow copy takes over in an update.
        seed: Of the network and the batches.
    """
    generator = torch.Generator().manual_seed(seed)
    starts = first_observations(transitions)
    inputs = _inputs(transitions, transitions.observations, transitions.encoded_actions())
    next_observations = transitions.next_observations
    next_inputs = _inputs(transitions, next_observations, _encoded(policy, transitions, next_observations))
    start_inputs = _inputs(transitions, starts, _encoded(policy, transitions, starts))
    mean, std = mean_and_std(inputs)
    inputs, next_inputs, start_inputs = ((found - mean) / std for found in (inputs, next_inputs, start_inputs))
    rewards, going = torch.tensor(transitions.rewards), torch.tensor(~transitions.terminations).float()
    # In units in which values are of order one.
    unit = max(0.1 * float(rewards.square().mean().sqrt()) / (1.0 - gamma), 1e-30)
    network, slow = _network(inputs.shape[1], generator), _network(inputs.shape[1], generator)
    slow.load_state_dict(network.state_dict())
    optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.01, num_updates)
    for _ in range(num_updates):
        rows = torch.randint(len(inputs), (batch_size,), generator=generator)
        with torch.no_grad():
            targets = rewards[rows] / unit + gamma * going[rows] * slow(next_inputs[rows])[:, 0]
        loss = (network(inputs[rows])[:, 0] - targets).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            for kept, learned in zip(slow.parameters(), network.parameters(), strict=True):
                kept.lerp_(learned, tau)
    with torch.no_grad():
        rows = torch.randint(len(inputs), (10_000,), generator=generator)
        targets = rewards[rows] / unit + gamma * going[rows] * network(next_inputs[rows])[:, 0]
        error = (network(inputs[rows])[:, 0] - targets).square().mean().sqrt()
        return FittedValue(value=float(network(start_inputs).mean()) * unit, error=float(error) * unit)


_ROWS_AT_ONCE = 1000


def _network(width: int, generator: torch.Generator) -> nn.Sequential:
    with torch.random.fork_rng():  # the layers draw their first weights from the global generator
        layers = [nn.Linear(width, 256), nn.Linear(256, 256), nn.Linear(256, 1)]
    with torch.no_grad():
        for layer in layers:
            for parameter in layer.parameters():
                parameter.uniform_(-(layer.in_features**-0.5), layer.in_features**-0.5, generator=generator)
    return nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])


def _inputs(transitions: Transitions, observations: np.ndarray, actions: np.ndarray) -> Tensor:
    return torch.tensor(np.concatenate([observations, actions], axis=1))


def _encoded(policy: Policy, transitions: Transitions, observations: np.ndarray) -> np.ndarray:
    """Return the policy's actions as the networks see them; discrete ones one-hot."""
    parts = np.array_split(observations, math.ceil(len(observations) / _ROWS_AT_ONCE))
    actions = np.concatenate([np.asarray(policy.predict(part, deterministic=True)[0]) for part in parts])
    space = transitions.action_space
    if isinstance(space, Discrete):
        one_hot: np.ndarray = np.eye(int(space.n), dtype=np.float32)[actions.ravel() - int(space.start)]
        return one_hot
    return actions.astype(np.float32)
