"""`RAVL`: no penalty, but many critics that are kept from agreeing where there are no data."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from mopo_agents.pessimism.base import PessimisticSAC
from mopo_agents.sb3.fast_sac.update import SACUpdate
from mopo_env._utils.options import check_number

_TINY = 1e-10


class RAVL(PessimisticSAC):
    """SAC with the minimum of N critics, whose gradients by the action are pushed apart.

    Rollouts that stop at h reach states from which the critic bootstraps and that it never learns about, the edge of
    reach. There the minimum over diverse critics is low.

    Sources: Sims et al., "The Edge-of-Reach Problem in Offline Model-Based Reinforcement Learning" (2024); the term is
    that of An et al., "Uncertainty-Based Offline Reinforcement Learning with Diversified Q-Ensemble" (2021), equation
    14: η/(N − 1)·E Σ_{i≠j} cos(∇ₐQᵢ, ∇ₐQⱼ).
    """

    def __init__(
        self,
        policy: Any,
        env: Any,
        *,
        diversity_coef: float = 1.0,
        policy_kwargs: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        """Set the agent up.

        Args:
            policy: ``"MlpPolicy"``.
            env: A `PenalizedModelVecEnv`.
            diversity_coef: η; 0 is SAC-N.
            policy_kwargs: Options of the policy; default: 10 critics, three layers of 256 units.
            **options: As in Stable-Baselines3's `SAC`.

        Raises:
            ConfigError: If an option is wrong.
        """
        self.diversity_coef = check_number("diversity_coef", diversity_coef, minimum=0.0)
        policy_kwargs = {"n_critics": 10, "net_arch": [256, 256, 256], **(policy_kwargs or {})}
        super().__init__(policy, env, policy_kwargs=policy_kwargs, **options)


class _Update(SACUpdate):
    def _add_critic_gradient(self, trace: list[Tensor], action_columns: slice) -> None:
        agent: Any = self._agent
        weight, count = agent.diversity_coef, len(trace[0])
        if weight == 0.0 or count == 1:
            return
        gradients = self._critics.input_gradients(trace)
        upstream = torch.zeros_like(gradients[0])
        upstream[..., action_columns] = weight * diversity_gradient(gradients[0][..., action_columns])
        self._critics.add_backward_of_input_gradients(trace, gradients, upstream)


RAVL.update_class = _Update


def diversity_gradient(gradients: Float[Tensor, "critic row action"]) -> Float[Tensor, "critic row action"]:
    """Return the gradient of 1/(N − 1)·E Σ_{i≠j} cos(gᵢ, gⱼ) by gᵢ = ∇ₐQᵢ."""
    num_critics, num_rows = gradients.shape[:2]
    norms = torch.linalg.vector_norm(gradients, dim=-1, keepdim=True) + _TINY
    directions = gradients / norms
    by_direction = 2.0 / ((num_critics - 1) * num_rows) * (directions.sum(dim=0) - directions)
    along: Tensor = (by_direction * directions).sum(dim=-1, keepdim=True)
    gradient: Tensor = (by_direction - along * directions) / norms
    return gradient
