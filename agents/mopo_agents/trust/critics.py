"""What an agent's own networks say of states: the critic's value and its slope, and the entropy of the actor."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box
from jaxtyping import Float, Float32
from stable_baselines3.common.distributions import SquashedDiagGaussianDistribution
from torch import Tensor, nn

from mopo_agents.evaluation import Policy

_NODES = 16


@torch.no_grad()
def critic_values(policy: Policy, observations: Float32[np.ndarray, "row observation"]) -> np.ndarray | None:
    """Return Q(s, π(s)), the lowest of the critics, for the deterministic action; None if there is no such critic.

    SAC's value has the bonus of its entropy in it, which is no part of a return. On-policy agents have V(s).
    """
    values = _values(policy, observations, torch.as_tensor(observations))
    return None if values is None else values.cpu().double().numpy()


def critic_slopes(policy: Policy, observations: Float32[np.ndarray, "row observation"]) -> np.ndarray | None:
    """Return ‖∂Q(s, π(s))/∂s‖₂ in raw units, the action held fixed; None if there is no such critic."""
    states = torch.as_tensor(observations).clone().requires_grad_()
    values = _values(policy, observations, states)
    if values is None:
        return None
    (gradient,) = torch.autograd.grad(values.sum(), states)
    slopes: np.ndarray = gradient.norm(dim=1).cpu().double().numpy()
    return slopes


@torch.no_grad()
def actor_entropy(policy: Policy, observations: Float32[np.ndarray, "row observation"]) -> float:
    """Return the mean entropy of each action, scaled to −1 … 1, in nats; NaN if the policy has no squashed Gaussian.

    SAC aims at −1, its target entropy divided by the number of actions; uniform actions have 0.69. It is computed by
    quadrature, because a draw from a global generator would change the training.
    """
    actor: Any = getattr(_networks(policy), "actor", None)
    if not isinstance(getattr(actor, "action_dist", None), SquashedDiagGaussianDistribution) or not len(observations):
        return math.nan
    mean, log_std, _ = actor.get_action_dist_params(torch.as_tensor(observations).to(_device(actor)))
    nodes, weights = (torch.tensor(part, dtype=mean.dtype) for part in np.polynomial.hermite_e.hermegauss(_NODES))
    raw = mean[..., None] + log_std.exp()[..., None] * nodes.to(mean.device)
    # ln(1 − tanh² x) without cancellation.
    slope = 2.0 * (math.log(2.0) - raw - nn.functional.softplus(-2.0 * raw))
    change = (slope * (weights / weights.sum()).to(mean.device)).sum(dim=-1)
    return float((0.5 * math.log(2.0 * math.pi * math.e) + log_std + change).mean())


def _networks(policy: Policy) -> Any:
    """Return the module that holds actor and critic, of an agent or of a policy."""
    return getattr(policy, "policy", policy)


def _device(module: nn.Module) -> torch.device:
    return next(module.parameters()).device


def _values(policy: Policy, observations: np.ndarray, states: Tensor) -> Float[Tensor, " row"] | None:
    networks: Any = _networks(policy)
    is_torch = isinstance(networks, nn.Module)
    if not is_torch:  # SBX's
        return None
    states = states.to(_device(networks))
    if isinstance(getattr(networks, "q_net", None), nn.Module):
        best: Tensor = networks.q_net(states).amax(dim=1)
        return best
    if hasattr(networks, "predict_values"):
        value: Tensor = networks.predict_values(states)[:, 0]
        return value
    critic: Any = getattr(networks, "critic", None)
    if critic is None or not isinstance(networks.action_space, Box):
        return None
    actions, _ = policy.predict(observations, deterministic=True)
    found = critic(states, torch.as_tensor(networks.scale_action(actions)).to(states))
    # SAC and TD3: a tuple of columns. TQC: a tensor of (row, critic, quantile).
    found = torch.cat(found, dim=1) if isinstance(found, tuple) else found.mean(dim=2)
    lowest: Tensor = found.amin(dim=1)
    return lowest
