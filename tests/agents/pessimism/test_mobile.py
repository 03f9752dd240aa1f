"""MOBILE's penalty, by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers.agents import make_small, weights
from helpers.transitions import transitions
from torch import Tensor

from mopo_env.envs.penalized_model import PenalizedModel
from mopo_env.errors import ConfigError
from mopo_env.toys import LinearGaussianSystem, StubEnsemble

GAMMA = 0.5


def agent_in(offsets: list[float], *, std: float = 0.0, elites: Any = None, **options: Any) -> Any:
    """Return an agent whose members disagree about s′ by the offsets."""
    model = StubEnsemble(1, 1, mean=lambda s, a: (0 * s, torch.ones(len(s))), offsets=offsets, std=std, elites=elites)
    penalized = PenalizedModel(model, transitions(widths=(1, 1)), penalty="none", penalty_coef=2.0)
    sizes: dict[str, Any] = {"real_ratio": 0.25, "batch_size": 8, "gamma": GAMMA, "gradient_steps": 1}
    return make_small("MOBILE", penalized, **{**sizes, **options})


def targets_of(agent: Any, values: float = 0.0) -> Tensor:
    """Return the critics' targets of a batch, where every target critic says Q′(s, a) = s + `values`."""
    agent.learn(16, log_interval=None)
    update = type(agent).update_class(agent)
    with torch.no_grad():
        states = lambda inputs: [(inputs[:, :1] + values).expand(2, -1, -1)]  # noqa: E731
        update._targets.forward = states
        batch = agent.replay_buffer.sample(8)._replace(rewards=torch.full((8, 1), 3.0), dones=torch.zeros(8, 1))
        return update._critic_targets(batch, torch.full((8, 1), 10.0), torch.full((8, 1), 99.0))[:, 0]


def test_the_spread_of_the_targets_is_paid_for_model_rows() -> None:
    """Members say s′ = 1, 2 and 6: std √7 ≈ 2.65, λ = 2. Two of eight rows are real. No entropy: 3 + 0.5·10 = 8."""
    found = targets_of(agent_in([1.0, 2.0, 6.0]))
    assert found[:2].tolist() == [8.0, 8.0]
    assert found[2:].tolist() == pytest.approx([8.0 - 2.0 * 7.0**0.5] * 6, rel=1e-5)


def test_only_elites_are_asked() -> None:
    found = targets_of(agent_in([1.0, 100.0, 3.0], elites=[0, 2]))
    assert found[2:].tolist() == pytest.approx([8.0 - 2.0 * 2.0**0.5] * 6, rel=1e-5)


def test_noise_is_averaged_out() -> None:
    """The penalty is the members' disagreement, not the noise that they agree about: 1,000 samples of std 1."""
    found = targets_of(agent_in([1.0, 1.0], std=1.0, num_samples=1000))
    assert (8.0 - found[2:]).abs().max() < 2.0 * 0.15


def test_targets_may_be_clamped() -> None:
    """As the authors do where all rewards are positive."""
    assert targets_of(agent_in([1.0, 2.0, 60.0], targets_at_least_zero=True))[2:].tolist() == [0.0] * 6
    assert targets_of(agent_in([1.0, 2.0, 60.0])).min() < -10.0


def test_a_model_with_one_opinion_is_refused() -> None:
    """A spread of one member is no number: NaN would reach every weight."""
    with pytest.raises(ConfigError, match="MOBILE needs a model with two or more elites"):
        agent_in([1.0]).learn(32, log_interval=None)


def test_where_members_agree_it_is_sac_without_entropy_in_its_targets() -> None:
    """A perfect model has no inconsistency: the penalty must not change with λ."""

    def after(penalty_coef: float) -> Any:
        system = LinearGaussianSystem()
        model = PenalizedModel(
            system.model(std=[[0.0, 0.0, 0.0]], num_members=3),
            system.transitions(seed=0),
            penalty="none",
            penalty_coef=penalty_coef,
        )
        return weights(make_small("MOBILE", model, gradient_steps=20).learn(32, log_interval=None))

    one, other = after(0.0), after(1.0)
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=1e-3, atol=1e-4)
