"""A task with a known optimum whose data cover part of the actions: what the tests of the baselines share.

States come independently and uniformly from −1 to 1. Recorded actions are uniform within 0.4 of 0.3·s; let x be how far
an action is from that middle. The reward rises evenly from 0 to 0.25 over the recorded x, and falls steeply beyond: who
extrapolates the rise believes in the largest action there is, whose reward is far below that of the worst on record.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from mopo_agents.agents import make_offline_agent
from mopo_env.transitions import Transitions

GAMMA = 0.8
HALF_WIDTH = 0.4
BEST_REWARD = 0.25
BEST_VALUE = BEST_REWARD / (1.0 - GAMMA)
STATES = np.linspace(-1.0, 1.0, 101, dtype=np.float32)[:, None]

# Networks, batches and learning rates of the toy's size; what makes an algorithm itself is left at its defaults, but
# for α of BRAC, which is in units of the reward.
OPTIONS: dict[str, dict[str, Any]] = {
    "BC": {},
    "offline-SAC": {"ent_coef": 0.01},
    "BEAR": {"actor_learning_rate": 3e-3, "vae_units": 32},
    "BRAC-p": {"actor_learning_rate": 3e-3, "alpha": 0.1},
    "BRAC-v": {"actor_learning_rate": 3e-3, "alpha": 0.1},
}


def offsets(states: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """Return x: the distance of actions from the middle of those on record."""
    return actions - 0.3 * states


def rewards(states: np.ndarray, actions: np.ndarray) -> np.ndarray:
    x = offsets(states, actions)
    rise = BEST_REWARD * (x + HALF_WIDTH) / (2.0 * HALF_WIDTH)
    return np.where(x <= HALF_WIDTH, rise, BEST_REWARD - 5.0 * (x - HALF_WIDTH))


def toy_transitions(num_rows: int = 2000, seed: int = 0) -> Transitions:
    random = np.random.default_rng(seed)
    states = random.uniform(-1, 1, (num_rows, 1))
    actions = 0.3 * states + random.uniform(-HALF_WIDTH, HALF_WIDTH, (num_rows, 1))
    return Transitions(
        observations=states,
        actions=actions,
        rewards=rewards(states, actions)[:, 0],
        next_observations=random.uniform(-1, 1, (num_rows, 1)),
        terminations=np.zeros(num_rows, dtype=bool),
        truncations=np.ones(num_rows, dtype=bool),
    )


def small_agent(agent: Any, transitions: Transitions | None = None, **options: Any) -> Any:
    """An agent whose networks fit the toy."""
    sizes = {"policy_kwargs": {"net_arch": [32, 32]}, "gamma": GAMMA, "tau": 0.05, "batch_size": 64}
    chosen = {**sizes, "learning_rate": 3e-3, **OPTIONS.get(agent, {}), **options}
    return make_offline_agent(agent, toy_transitions() if transitions is None else transitions, **chosen)


def policy_actions(agent: Any) -> np.ndarray:
    actions: np.ndarray = agent.predict(STATES, deterministic=True)[0]
    return actions


def mean_q(agent: Any) -> float:
    """What the first critic believes of the policy's actions."""
    with torch.no_grad():
        values = agent.critic(torch.from_numpy(STATES), torch.from_numpy(policy_actions(agent)))
    return float(values[0].mean())
