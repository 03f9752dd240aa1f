"""`Cloner`: maximum likelihood of the recorded actions, and the policies whose log standard deviation is bounded."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.sac.policies import Actor, SACPolicy
from torch import Tensor, nn

from mopo_agents.baselines.descend import descend
from mopo_agents.baselines.multiplier import LinearMultiplier
from mopo_agents.sb3.squashed_gaussian import draw, log_prob, unsquash

__all__ = ["BoundedActor", "BoundedActorCriticPolicy", "BoundedActorPolicy", "Cloner"]

# Those of Wu et al.'s code. With Stable-Baselines3's bounds, −20 and 2, one odd action has a log density of −10¹⁵.
_LOWEST_LOG_STD, _HIGHEST_LOG_STD = -5.0, 0.0
# A recorded action at a bound is as if this far from it; the tanh of no finite number is 1.
_BOUND_MARGIN = 1e-3


class BoundedActor(Actor):
    """SAC's actor, with a log standard deviation that a tanh keeps between −5 and 0."""

    log_std: nn.Linear  # type: ignore[assignment]  # a parameter only with state-dependent noise, which is off

    def get_action_dist_params(self, obs: Any) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Return mean and log standard deviation before the tanh of the action, each of shape (batch, action)."""
        latent = self.latent_pi(self.extract_features(obs, self.features_extractor))
        middle, half = 0.5 * (_HIGHEST_LOG_STD + _LOWEST_LOG_STD), 0.5 * (_HIGHEST_LOG_STD - _LOWEST_LOG_STD)
        return self.mu(latent), middle + half * self.log_std(latent).tanh(), {}


class BoundedActorCriticPolicy(SACPolicy):
    """SAC's policy with a `BoundedActor`."""

    def make_actor(self, features_extractor: BaseFeaturesExtractor | None = None) -> Actor:
        """Return a new actor."""
        return BoundedActor(**self._update_features_extractor(self.actor_kwargs, features_extractor)).to(self.device)


class BoundedActorPolicy(BoundedActorCriticPolicy):
    """The same without critics."""

    def _build(self, lr_schedule: Any) -> None:
        self.actor = self.make_actor()

    def set_training_mode(self, mode: bool) -> None:
        """Put the actor into training or evaluation mode."""
        self.actor.set_training_mode(mode)
        self.training = mode


class Cloner:
    """Fits an actor to recorded actions, and keeps its entropy from falling below −dim(A).

    The loss is −E[log π(a|s)] over the data, plus α·E[log π(ã|s)] over the actor's own actions, where α is the
    multiplier of the entropy constraint. This is the behaviour cloning of Wu et al.'s code, there called "bc".

    Attributes:
        actor: π.
        optimizer: Of the actor.
        entropy_weight: α.
    """

    def __init__(self, actor: Actor, *, learning_rate: float) -> None:
        self.actor = actor
        self.optimizer = torch.optim.Adam(actor.parameters(), lr=learning_rate)
        self.entropy_weight = LinearMultiplier(learning_rate).to(actor.device)

    def update(
        self, observations: Float[Tensor, "batch observation"], actions: Float[Tensor, "batch action"]
    ) -> Float[Tensor, ""]:
        """Take one step on a batch, and return the mean log density of its actions.

        Args:
            observations: s, raw units.
            actions: a, in −1…1.
        """
        mean, log_std, _ = self.actor.get_action_dist_params(observations)
        recorded = log_prob(unsquash(actions, _BOUND_MARGIN)[:, None], mean, log_std).mean()
        own = log_prob(draw(mean, log_std, 1), mean, log_std).mean()
        loss = self.entropy_weight.value * own - recorded
        descend(self.optimizer, loss)
        self.entropy_weight.update(own - actions.shape[1])  # the entropy is −own, and must not be below −dim(A)
        return recorded.detach()
