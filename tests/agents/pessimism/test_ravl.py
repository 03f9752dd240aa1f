"""RAVL's diversity term, against autograd, and what it does to critics."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers.agents import make_small, penalized_model, toy_model, weights
from torch import Tensor, nn

from mopo_agents.agents import fast_path
from mopo_agents.pessimism.ravl import diversity_gradient
from mopo_agents.sb3.fast_sac.dense_networks import DenseNetworks
from mopo_env.errors import ConfigError

CRITICS: dict[str, Any] = {"n_critics": 4, "net_arch": [16, 12]}


def diversity(gradients: Tensor) -> Tensor:
    """1/(N − 1)·E Σ_{i≠j} cos(gᵢ, gⱼ), as the paper writes it."""
    count = len(gradients)
    pairs = [
        torch.cosine_similarity(gradients[i], gradients[j], dim=-1).mean()
        for i in range(count)
        for j in range(count)
        if i != j
    ]
    return torch.stack(pairs).sum() / (count - 1)


def test_the_gradient_of_the_term() -> None:
    gradients = torch.randn(5, 30, 3, dtype=torch.float64, requires_grad=True)
    (expected,) = torch.autograd.grad(diversity(gradients), gradients)
    torch.testing.assert_close(diversity_gradient(gradients.detach()), expected)


def test_the_gradient_by_the_weights() -> None:
    """Through every layer, by hand as by autograd's second differentiation."""
    networks = [
        nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 1)) for _ in range(4)
    ]
    inputs, columns = torch.randn(40, 5, requires_grad=True), slice(3, None)
    by_action = torch.stack(
        [torch.autograd.grad(net(inputs).sum(), inputs, create_graph=True)[0][:, columns] for net in networks]
    )
    parameters = [parameter for net in networks for parameter in net.parameters()]
    expected = torch.autograd.grad(diversity(by_action), parameters, allow_unused=True)

    layers: Any = [[net[index] for net in networks] for index in (0, 2, 4)]
    ours = DenseNetworks(layers, num_networks=4)
    with torch.no_grad():
        trace = ours.forward(inputs.detach())
        gradients = ours.input_gradients(trace)
        torch.testing.assert_close(gradients[0][..., columns], by_action.detach())
        upstream = torch.zeros_like(gradients[0])
        upstream[..., columns] = diversity_gradient(gradients[0][..., columns])
        ours.add_backward_of_input_gradients(trace, gradients, upstream)
    parts = torch.split(ours.gradients, [parameter.numel() for parameter in ours.parameters])
    found = {id(parameter): part for parameter, part in zip(ours.parameters, parts, strict=True)}
    for parameter, gradient in zip(parameters, expected, strict=True):
        wanted = torch.zeros_like(parameter) if gradient is None else gradient
        torch.testing.assert_close(found[id(parameter)].view_as(parameter), wanted, rtol=1e-4, atol=1e-6)


def trained(agent: str, **options: Any) -> Any:
    options = {"policy_kwargs": CRITICS, "gradient_steps": 40, "rollout_batch_size": 64, **options}
    model = make_small(agent, penalized_model(penalty="none"), **options)
    return model.learn(64 * 2 * 3, log_interval=None)


def test_without_the_term_it_is_sac_with_many_critics() -> None:
    """The same bits, so that rows of a table differ in the term alone."""
    one, other = weights(trained("RAVL", diversity_coef=0.0)), weights(trained("SAC"))
    assert all((one[name] == other[name]).all() for name in one)


def test_the_term_makes_critics_disagree() -> None:
    """Cosines between the critics' gradients by the action, before anything else: it is what the term is for."""

    def agreement(agent: Any) -> float:
        states, actions = torch.randn(200, 3), torch.rand(200, 2, requires_grad=True)
        gradients = [torch.autograd.grad(value.sum(), actions)[0] for value in agent.critic(states, actions)]
        return float(diversity(torch.stack(gradients)))

    torch.manual_seed(0)
    assert agreement(trained("RAVL", diversity_coef=30.0)) < agreement(trained("RAVL", diversity_coef=0.0)) - 0.15


def test_the_default_is_the_papers() -> None:
    agent = make_small("RAVL", toy_model(), policy_kwargs=None)
    assert (agent.diversity_coef, len(agent.critic.q_networks), agent.policy.net_arch) == (1.0, 10, [256, 256, 256])
    assert "rollouts by mopo_agents in batches, updates by the agent's own code" in fast_path(agent)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"policy_kwargs": {"net_arch": [8], "activation_fn": nn.Tanh}}, "RAVL cannot update this agent: a network"),
        ({"diversity_coef": -1.0}, "diversity_coef: expected a finite number at least 0"),
    ],
)
def test_what_it_cannot_do_is_refused(options: dict[str, Any], message: str) -> None:
    """There is no other update to fall back to, and the term would be left out without a word."""
    with pytest.raises(ConfigError, match=message):
        make_small("RAVL", toy_model(), **options)
