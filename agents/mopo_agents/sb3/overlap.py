"""Rollouts of the next epoch beside the updates of this one, on a second core: opt-in, since it changes the algorithm.

The policy that rolls out is then one epoch older than the paper's: it does not know the updates it runs beside.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.noise import ActionNoise
from torch import Tensor, nn

from mopo_agents.sb3.batched_rollouts import BatchedRollouts, CollectedStep, by_parts, policy_decides, unscaled
from mopo_agents.sb3.mixins import apply_mixin
from mopo_agents.vec_env import PenalizedModelVecEnv
from mopo_env.errors import ConfigError

__all__ = ["OverlappedRollouts", "with_overlap"]


class OverlappedRollouts(BatchedRollouts):
    """Put before the class of an agent with an actor, this rolls out in a thread while the agent updates.

    What is drawn there comes from a generator of its own, so that a seed still decides every number.
    """

    _pending: Future[list[CollectedStep]] | None = None

    def set_random_seed(self, seed: int | None = None) -> None:
        """Seed the agent, and the generator of the rollouts' actions."""
        super().set_random_seed(seed)
        child = np.random.SeedSequence(seed).spawn(1)[0]
        self._rollout_generator = torch.Generator(self.device).manual_seed(int(child.generate_state(1)[0]))

    def _setup_model(self) -> None:
        super()._setup_model()
        if (
            not policy_decides(self, self.action_space)
            or self.action_noise is not None
            or self.learning_starts
            or self.use_sde
        ):
            raise ConfigError(
                "overlap: needs an agent whose actions are what its actor draws, such as SAC, TD3 or TQC, without "
                "action_noise, learning_starts, use_sde or random_rollouts. Leave overlap out."
            )

    def _setup_learn(self, *args: Any, **kwargs: Any) -> Any:
        if self._pending is not None:  # of a run that is over; the rollouts are about to start anew
            self._pending.result()
            self._pending = None
        return super()._setup_learn(*args, **kwargs)

    def _steps(
        self, env: PenalizedModelVecEnv, num_steps: int, learning_starts: int, action_noise: ActionNoise | None
    ) -> Iterator[CollectedStep]:
        if self._pending is None:
            steps = _roll_out(self.actor, env, num_steps, self._rollout_generator)
        else:
            steps = self._pending.result()
        for step in steps:
            env.rollouts.last_step = step.step
            yield step
        self._pending = None
        if self.num_timesteps < self._total_timesteps:
            actor = copy.deepcopy(self.actor)  # the updates go on changing the other
            thread = ThreadPoolExecutor(max_workers=1)
            self._pending = thread.submit(_roll_out, actor, env, num_steps, self._rollout_generator)
            thread.shutdown(wait=False)

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_pending", "_rollout_generator"]


def with_overlap(agent_class: type[BaseAlgorithm]) -> type[BaseAlgorithm]:
    """Return a subclass whose rollouts run beside its updates; it goes by the name of the class given.

    Raises:
        ConfigError: If the class does not roll out in batches.
    """
    if not issubclass(agent_class, BatchedRollouts):
        raise ConfigError(f"overlap: {agent_class.__name__} has a loop of its own; leave overlap out.")
    return apply_mixin(OverlappedRollouts, agent_class)


def _roll_out(
    actor: nn.Module, env: PenalizedModelVecEnv, num_steps: int, generator: torch.Generator
) -> list[CollectedStep]:
    steps = []
    for _ in range(num_steps):
        observations = env.rollouts.observations
        scaled = by_parts(lambda rows: _draw(actor, rows, generator), observations.to(generator.device))
        steps.append(CollectedStep(observations, scaled, env.rollouts.advance(unscaled(scaled, env))))
    return steps


def _draw(
    actor: Any, observations: Float[Tensor, "env observation"], generator: torch.Generator
) -> Float[Tensor, "env action"]:
    """Draw from a squashed Gaussian, as SAC and its kin do; an actor without a distribution says what to do."""
    if not hasattr(actor, "get_action_dist_params"):
        action: Tensor = actor(observations)
        return action
    mean, log_std, _ = actor.get_action_dist_params(observations)
    noise = torch.randn(mean.shape, generator=generator, device=mean.device)
    return torch.tanh(mean + log_std.exp() * noise)
