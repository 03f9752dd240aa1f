"""`MOBILE`: a penalty from the critics, the spread of their Bellman targets over the members of the ensemble."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from torch import Tensor

from mopo_agents._utils.action_scale import unscale_actions
from mopo_agents.pessimism.base import PessimisticSAC
from mopo_agents.replay_buffer import MixedReplayBuffer
from mopo_agents.sb3.fast_sac.update import SACUpdate
from mopo_agents.sb3.squashed_gaussian import draw_actions
from mopo_agents.vec_env import PenalizedModelVecEnv
from mopo_env._utils.options import check_boolean, check_integer
from mopo_env.envs.penalized_model import PenalizedModel
from mopo_env.errors import ConfigError
from mopo_env.models.protocol import GaussianPrediction


class MOBILE(PessimisticSAC):
    """SAC that lowers its targets by λ times the inconsistency of the ensemble's Bellman targets.

    u(s, a) is the standard deviation over the elites of the mean over samples s′ and a′ of min_k Q′_k(s′, a′). It
    depends on the critics, so the update computes it, for model rows alone. λ is that of the environment, which pays no
    penalty of its own. Targets have no entropy term.

    Source: Sun et al., "Model-Bellman Inconsistency for Model-based Offline Reinforcement Learning" (2023), equation 5.
    """

    def __init__(
        self, policy: Any, env: Any, *, num_samples: int = 10, targets_at_least_zero: bool = False, **options: Any
    ) -> None:
        """Set the agent up.

        Args:
            policy: ``"MlpPolicy"``.
            env: A `PenalizedModelVecEnv` of an ensemble, with penalty ``"none"``.
            num_samples: Samples of s′ for each elite.
            targets_at_least_zero: Whether targets are clamped at 0, as in the authors' code: right only where no return
                is negative.
            **options: As in Stable-Baselines3's `SAC`.

        Raises:
            ConfigError: If an option is wrong.
        """
        self.num_samples = check_integer("num_samples", num_samples)
        self.targets_at_least_zero = check_boolean("targets_at_least_zero", targets_at_least_zero)
        super().__init__(policy, env, **options)

    @property
    def penalized_model(self) -> PenalizedModel:
        """The model whose members the targets are compared over.

        Raises:
            ConfigError: If the agent's environment is of another kind.
        """
        if not isinstance(self.env, PenalizedModelVecEnv):
            raise ConfigError("MOBILE needs the members of a model. Use make_agent('MOBILE', penalized_model).")
        return self.env.rollouts.penalized_model


class _Update(SACUpdate):
    def _critic_targets(
        self,
        batch: ReplayBufferSamples,
        next_values: Float[Tensor, "batch 1"],
        entropy_costs: Float[Tensor, "batch 1"],
    ) -> Float[Tensor, "batch 1"]:
        agent: Any = self._agent
        targets = super()._critic_targets(batch, next_values, torch.zeros_like(entropy_costs))
        buffer: MixedReplayBuffer = agent.replay_buffer
        model_rows = slice(buffer.num_real_rows(len(targets)), None)  # real rows come first
        inconsistency = self._inconsistency(batch.observations[model_rows], batch.actions[model_rows])
        targets[model_rows] -= agent.penalized_model.penalty_coef * inconsistency[:, None]
        return targets.clamp_(min=0.0) if agent.targets_at_least_zero else targets

    def _inconsistency(
        self, observations: Float[Tensor, "batch observation"], actions: Float[Tensor, "batch action"]
    ) -> Float[Tensor, " batch"]:
        """Return the standard deviation of the members' expected next values."""
        agent: Any = self._agent
        penalized_model: PenalizedModel = agent.penalized_model
        raw_actions: Any = unscale_actions(actions, penalized_model.action_space)  # type: ignore[arg-type]
        prediction = penalized_model.model.predict(
            observations.to(penalized_model.device), raw_actions.to(penalized_model.device)
        )
        if not isinstance(prediction, GaussianPrediction) or len(prediction.elites) < 2:
            raise ConfigError("MOBILE needs a model with two or more elites: their spread is its penalty.")
        mean, std = (part[prediction.elites, :, :-1] for part in (prediction.mean, prediction.std))
        noise = torch.randn(agent.num_samples, *mean.shape, device=mean.device)
        states = agent.actor.features_extractor((mean + std * noise).flatten(0, 2).to(agent.device))
        chosen = draw_actions(self._actor.forward(states)[-1][0], len(states)).actions
        values = self._targets.forward(torch.cat([states, chosen], dim=1))[-1].amin(dim=0)
        spread: Tensor = values.view(noise.shape[:3]).mean(dim=0).std(dim=0)
        return spread


MOBILE.update_class = _Update
