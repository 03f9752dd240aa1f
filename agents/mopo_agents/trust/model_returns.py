"""The return of a policy in the learned model, member by member, over whole episodes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64

from mopo_agents.evaluation import Policy
from mopo_env.envs.envelope import EXITS
from mopo_env.envs.penalized_model import PenalizedModel
from mopo_env.errors import ConfigError
from mopo_env.transitions import Transitions

_LOOKS = 20
"""How often in the longest episode the pairs (s, a) are kept."""


@dataclass(frozen=True, kw_only=True)
class ModelReturns:
    """Episodes of one policy in a model: every elite plays each of them alone.

    Attributes:
        plain: Σ r̂ of each episode.
        penalized: Σ r̃, the price of leaving the envelope included.
        discounted: Σ γᵗ r̂.
        discounted_penalized: Σ γᵗ r̃.
        lengths: Steps of each episode.
        exits: Why an episode left the envelope: an index into `mopo_env.envs.envelope.EXITS`; 0: it did not.
        unfinished: Whether an episode was cut at the horizon.
        first_observations: Where the episodes begin.
        last_observations: Where they end.
        visited_observations: States on the way, of all episodes, at twenty times spread over the horizon.
        visited_actions: The actions chosen there.
    """

    plain: Float32[np.ndarray, "member start"]
    penalized: Float32[np.ndarray, "member start"]
    discounted: Float32[np.ndarray, "member start"]
    discounted_penalized: Float32[np.ndarray, "member start"]
    lengths: Int64[np.ndarray, "member start"]
    exits: Int64[np.ndarray, "member start"]
    unfinished: Bool[np.ndarray, "member start"]
    first_observations: Float32[np.ndarray, "start observation"]
    last_observations: Float32[np.ndarray, "member start observation"]
    visited_observations: Float32[np.ndarray, "visit observation"]
    visited_actions: np.ndarray

    @property
    def left(self) -> dict[str, float]:
        """The share of episodes that left the envelope, by reason."""
        return {EXITS[code]: float((self.exits == code).mean()) for code in range(1, len(EXITS))}


def first_observations(transitions: Transitions) -> Float32[np.ndarray, "episode observation"]:
    """Return the first observation of every episode: where the policy will start."""
    firsts = np.append(0, transitions.episode_ends[:-1] + 1)
    starts: np.ndarray = transitions.observations[firsts]
    return starts


@torch.no_grad()
def model_returns(
    policy: Policy,
    penalized_model: PenalizedModel,
    *,
    horizon: int = 1000,
    num_starts: int = 40,
    gamma: float = 0.99,
    seed: int = 0,
) -> ModelReturns:
    """Play whole episodes in the model, from first states of recorded episodes, with deterministic actions.

    This says what the model believes. A policy that found an error of the model looks good here; that members disagree,
    or that episodes leave the envelope, are signs of it, and no proof.

    Args:
        policy: Anything with Stable-Baselines3's `predict`.
        penalized_model: A model with members.
        horizon: Steps after which an episode ends.
        num_starts: Episodes of every member.
        gamma: The discount of the discounted returns.
        seed: Of the starts and of the draws.

    Raises:
        ConfigError: If the model has no members.
    """
    elites = getattr(penalized_model.model, "elites", None)
    if not isinstance(elites, torch.Tensor):
        raise ConfigError(f"the model has no members to compare: found a {type(penalized_model.model).__name__}.")
    generator = torch.Generator(penalized_model.device).manual_seed(seed)
    random = np.random.default_rng(seed)
    starts = first_observations(penalized_model.transitions)
    starts = starts[random.choice(len(starts), num_starts, replace=len(starts) < num_starts)]
    observations = torch.tensor(np.tile(starts, (len(elites), 1)), device=penalized_model.device)
    members = elites.repeat_interleave(num_starts)
    sums = torch.zeros(4, len(observations), device=observations.device)
    lengths, exits = (torch.zeros(len(observations), dtype=torch.int64, device=observations.device) for _ in range(2))
    going = torch.ones(len(observations), dtype=torch.bool, device=observations.device)
    visits: list[tuple[np.ndarray, np.ndarray]] = []
    for number in range(horizon):
        seen = observations.cpu().numpy()
        actions, _ = policy.predict(seen, deterministic=True)
        if number % max(1, horizon // _LOOKS) == 0:
            here = going.cpu().numpy()
            visits.append((seen[here], np.asarray(actions)[here]))
        step = penalized_model.step(observations, torch.as_tensor(actions).to(observations.device), generator, members)
        rewards = torch.stack([step.model_rewards, step.rewards])
        sums += torch.where(going, torch.cat([rewards, gamma**number * rewards]), 0.0)
        lengths += going
        exits = torch.where(going, step.exits, exits)
        observations = torch.where(going[:, None], step.next_observations, observations)
        going &= ~(step.terminations | step.truncations)
        if not bool(going.any()):
            break
    shape = (len(elites), num_starts)
    plain, penalized, discounted, discounted_penalized = sums.view(4, *shape).cpu().numpy()
    return ModelReturns(
        plain=plain,
        penalized=penalized,
        discounted=discounted,
        discounted_penalized=discounted_penalized,
        lengths=lengths.view(shape).cpu().numpy(),
        exits=exits.view(shape).cpu().numpy(),
        unfinished=going.view(shape).cpu().numpy(),
        first_observations=starts,
        last_observations=observations.view(*shape, -1).cpu().numpy(),
        visited_observations=np.concatenate([states for states, _ in visits]),
        visited_actions=np.concatenate([chosen for _, chosen in visits]),
    )
