"""`BRACp` and `BRACv`: behaviour-regularised actor-critic (Wu et al. 2019)."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from stable_baselines3.common.policies import BasePolicy
from torch import Tensor

from mopo_agents.baselines.cloning import BoundedActorCriticPolicy, Cloner
from mopo_agents.baselines.divergences import kl_estimate
from mopo_agents.baselines.regularised import RegularisedActorCritic
from mopo_agents.sb3.squashed_gaussian import draw
from mopo_env._utils.options import check_integer, check_number

_NUM_KL_SAMPLES = 4
_CLONING_LEARNING_RATE = 5e-4
_CLONING_UPDATES = 300_000


class BRAC(RegularisedActorCritic):
    """Base of `BRACp` and `BRACv`: the actor pays α·KL(π ‖ π_b) for its distance from the behaviour policy.

    `Cloner` first fits π_b to the data. The divergence is estimated from four actions of the policy (Wu et al. 2019,
    section 4, the "primal" form). There is no entropy bonus.

    The hyperparameters are those of D4RL's runs, whose results the paper prints (Table 1): critics of 2×300 and actors
    of 2×200, learning rates 10⁻³ and, for the actor, 3·10⁻⁵, α = 1, 20,000 warm-up updates. Wu et al. themselves chose
    α and the actor's learning rate for each dataset.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {"MlpPolicy": BoundedActorCriticPolicy}
    default_warmup_updates: ClassVar[int] = 20_000
    value_penalty: ClassVar[bool]
    policy: BoundedActorCriticPolicy

    def __init__(
        self,
        policy: Any,
        env: Any,
        learning_rate: Any = 1e-3,
        *,
        actor_learning_rate: float = 3e-5,
        alpha: float = 1.0,
        cloning_updates: int | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        """Set the agent up.

        Args:
            policy: ``"MlpPolicy"``.
            env: A `DatasetEnv`.
            learning_rate: Learning rate of the critics.
            actor_learning_rate: Learning rate of the actor.
            alpha: α, in units of the reward.
            cloning_updates: Updates of π_b before the first epoch, in addition to those of the run; None: 300,000 as in
                Wu et al.'s code, but at most as many as the run has.
            policy_kwargs: Options of the policy; default: actors of 2×200, critics of 2×300.
            **options: As in `RegularisedActorCritic`.
        """
        self.alpha = check_number("alpha", alpha, minimum=0.0)
        if cloning_updates is not None:
            cloning_updates = check_integer("cloning_updates", cloning_updates, minimum=0)
        self.cloning_updates = cloning_updates
        self.cloned = False
        policy_kwargs = {"net_arch": {"pi": [200, 200], "qf": [300, 300]}, **(policy_kwargs or {})}
        super().__init__(
            policy, env, learning_rate, actor_learning_rate=actor_learning_rate, policy_kwargs=policy_kwargs, **options
        )

    @property
    def divergence_weight(self) -> float:
        """α."""
        return self.alpha

    def _setup_model(self) -> None:
        super()._setup_model()
        self.behaviour = self.policy.make_actor()
        self.cloner = Cloner(self.behaviour, learning_rate=_CLONING_LEARNING_RATE)

    def train(self, gradient_steps: int, batch_size: int) -> None:
        """Do the updates of an epoch; before the first one, clone the behaviour policy."""
        if not self.cloned:
            self._clone(batch_size)
        super().train(gradient_steps, batch_size)

    def _clone(self, batch_size: int) -> None:
        updates = self.cloning_updates
        if updates is None:
            updates = min(_CLONING_UPDATES, self._total_timesteps)
        for _ in range(updates):
            batch = self.replay_buffer.sample(batch_size)
            self.cloner.update(batch.observations, batch.actions)
        self.cloned = True

    def _regulariser(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_std, _ = self.actor.get_action_dist_params(observations)
        with torch.no_grad():
            behaviour_mean, behaviour_log_std, _ = self.behaviour.get_action_dist_params(observations)
        raw = draw(mean, log_std, _NUM_KL_SAMPLES)
        return raw[:, 0].tanh(), kl_estimate(raw, (mean, log_std), (behaviour_mean, behaviour_log_std))

    def _next_values(self, observations: Tensor) -> Tensor:
        actions, divergence = self._regulariser(observations)
        values = torch.cat(self.critic_target(observations, actions), dim=1).amin(dim=1, keepdim=True)
        return values - self.alpha * divergence[:, None] if self.value_penalty else values

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "cloner"]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        names, tensors = super()._get_torch_save_params()
        return [*names, "behaviour"], tensors


class BRACp(BRAC):
    """BRAC with policy regularisation: only the actor pays for the divergence (Wu et al. 2019, section 4)."""

    value_penalty: ClassVar[bool] = False


class BRACv(BRAC):
    """BRAC with a value penalty: the critic's target pays for the divergence too (Wu et al. 2019, section 4)."""

    value_penalty: ClassVar[bool] = True
