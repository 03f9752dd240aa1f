"""Behaviour cloning: `Cloner`, which BRAC uses too, its policies with a bounded standard deviation, and `BC`."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from jaxtyping import Float
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.sac.policies import Actor, SACPolicy
from torch import Tensor, nn

from mopo_agents.baselines.multiplier import LinearMultiplier
from mopo_agents.baselines.offline import OfflineAgent, descend
from mopo_agents.sb3.squashed_gaussian import draw, log_prob, unsquash
from mopo_env._utils.options import check_number

# From Wu et al.'s code. With Stable-Baselines3's bounds, −20 and 2, one outlier can have a log density of −10¹⁵.
_LOWEST_LOG_STD, _HIGHEST_LOG_STD = -5.0, 0.0
# Recorded actions at a bound are moved inwards by this distance, because no finite number has the tanh 1.
_BOUND_MARGIN = 1e-3


class BoundedActor(Actor):
    """SAC's actor, with a tanh that keeps the log standard deviation between −5 and 0."""

    log_std: nn.Linear  # type: ignore[assignment]  # a parameter only with state-dependent noise, which is off

    def get_action_dist_params(self, obs: Any) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Return mean and log standard deviation of the raw action, each of shape (batch, action)."""
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
    """Fit an actor to recorded actions, with an entropy of at least −dim(A).

    The loss is −E[log π(a|s)] over the data plus α·E[log π(ã|s)] over the actor's own actions ã, where α is the
    multiplier of the entropy constraint, `entropy_weight`. This is "bc" in Wu et al.'s code.
    """

    def __init__(self, actor: Actor, *, learning_rate: float) -> None:
        self.actor = actor
        self.optimizer = torch.optim.Adam(actor.parameters(), lr=learning_rate)
        self.entropy_weight = LinearMultiplier(learning_rate).to(actor.device)

    def update(
        self, observations: Float[Tensor, "batch observation"], actions: Float[Tensor, "batch action"]
    ) -> Float[Tensor, ""]:
        """Take one gradient step on a batch, and return the mean log density of its actions.

        Args:
            observations: s, raw units.
            actions: a, in −1…1.
        """
        mean, log_std, _ = self.actor.get_action_dist_params(observations)
        recorded = log_prob(unsquash(actions, _BOUND_MARGIN)[:, None], mean, log_std).mean()
        own = log_prob(draw(mean, log_std, 1), mean, log_std).mean()
        loss = self.entropy_weight.value * own - recorded
        descend(self.optimizer, loss)
        self.entropy_weight.update(own - actions.shape[1])  # the entropy −own must be at least −dim(A)
        return recorded.detach()


class BC(OfflineAgent):
    """Behaviour cloning: the maximum-likelihood policy of the recorded actions; it ignores rewards.

    The paper's tables do not include it. Wu et al. 2019 used this loss and these hyperparameters for the behaviour
    policy of BRAC, and D4RL for its "BC": two layers of 200, Adam with 5·10⁻⁴, batches of 256; see `Cloner`.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {"MlpPolicy": BoundedActorPolicy}
    policy: BoundedActorPolicy

    def __init__(
        self,
        policy: Any,
        env: Any,
        learning_rate: Any = 5e-4,
        *,
        policy_kwargs: dict[str, Any] | None = None,
        _init_setup_model: bool = True,
        **options: Any,
    ) -> None:
        """Set the agent up.

        Args:
            policy: ``"MlpPolicy"``.
            env: A `DatasetEnv`.
            learning_rate: Learning rate of actor and entropy constraint; a number or a Stable-Baselines3 schedule.
            policy_kwargs: Options of the policy; default: two layers of 200.
            _init_setup_model: For Stable-Baselines3's `load`.
            **options: As in `OfflineAgent` and Stable-Baselines3's off-policy agents.
        """
        if not callable(learning_rate):
            learning_rate = check_number("learning_rate", learning_rate, above=0.0)
        policy_kwargs = {"net_arch": [200, 200], **(policy_kwargs or {})}
        super().__init__(policy, env, learning_rate, policy_kwargs=policy_kwargs, sde_support=False, **options)
        if _init_setup_model:
            self._setup_model()

    def _setup_model(self) -> None:
        super()._setup_model()
        self.actor = self.policy.actor
        self.cloner = Cloner(self.actor, learning_rate=self.lr_schedule(1.0))

    def train(self, gradient_steps: int, batch_size: int) -> None:
        """Do the updates of an epoch."""
        self.policy.set_training_mode(True)
        self._update_learning_rate([self.cloner.optimizer, self.cloner.entropy_weight.optimizer])
        total = 0.0
        for _ in range(gradient_steps):
            batch = self.replay_buffer.sample(batch_size)
            total += float(self.cloner.update(batch.observations, batch.actions))
        self._n_updates += gradient_steps
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        self.logger.record("train/log_likelihood", total / gradient_steps)
        self.logger.record("train/entropy_weight", float(self.cloner.entropy_weight.value))

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "actor", "cloner"]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        return ["policy", "cloner.optimizer", "cloner.entropy_weight", "cloner.entropy_weight.optimizer"], []
