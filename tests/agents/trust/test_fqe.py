"""Fitted-Q evaluation against values that are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Discrete
from helpers.transitions import transitions

from mopo_agents.trust.fqe import fitted_q_evaluation

QUICK: dict[str, Any] = {"gamma": 0.5, "num_updates": 600, "batch_size": 128, "tau": 0.05}


class Fixed:
    def __init__(self, action: float) -> None:
        self.action = action

    def predict(self, observation: np.ndarray, *_: Any, **__: Any) -> tuple[np.ndarray, None]:
        shape = (len(observation),) if isinstance(self.action, int) else (len(observation), 1)
        return np.full(shape, self.action), None


@pytest.mark.parametrize("action", [-0.5, 0.8])
def test_the_value_is_the_policys_and_not_the_datas(action: float) -> None:
    """The reward is the action. Data act at random, mean 0; a policy that always takes a earns a / (1 − γ)."""
    data = transitions(2000, rewards=np.zeros(2000))
    data = transitions(2000, rewards=data.actions[:, 0])
    found = fitted_q_evaluation(Fixed(action), data, **QUICK)
    assert found.value == pytest.approx(action / (1 - 0.5), abs=0.1)
    assert found.error < 0.2


def test_terminal_states_are_worth_nothing_more() -> None:
    """Every step ends the episode: the value is one reward."""
    data = transitions(500, rewards=np.ones(500), terminations=np.ones(500, dtype=bool))
    assert fitted_q_evaluation(Fixed(0.0), data, **QUICK).value == pytest.approx(1.0, abs=0.05)


def test_discrete_actions() -> None:
    numbers = np.arange(900) % 3
    data = transitions(900, actions=numbers, action_space=Discrete(3), rewards=numbers)
    assert fitted_q_evaluation(Fixed(2), data, **QUICK).value == pytest.approx(2 / (1 - 0.5), abs=0.2)


def test_the_seed_decides_and_the_global_generator_stays() -> None:
    data = transitions(100)
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    short = {**QUICK, "num_updates": 20}
    one, same, other = (fitted_q_evaluation(Fixed(0.0), data, seed=seed, **short) for seed in (0, 0, 1))
    assert one == same != other
    assert torch.equal(torch.random.get_rng_state(), before)
