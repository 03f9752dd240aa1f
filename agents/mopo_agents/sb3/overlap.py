"""Rollouts of the next epoch beside the updates of this one, on a second core: opt-in, since it changes the algorithm.

The policy that rolls out is then one epoch older than the paper's: it does not know the updates it runs beside.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from stable_baselines3.common.noise import ActionNoise
from torch import Tensor, nn

from mopo_agents.sb3.batched_rollouts import BatchedRollouts, CollectedStep, by_parts, policy_decides, to_model
from mopo_agents.sb3.squashed_gaussian import squash
from mopo_agents.sb3.untouched import is_untouched
from mopo_agents.vec_env import PenalizedModelVecEnv
from mopo_env.errors import ConfigError

__all__ = ["OverlappedRollouts"]


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
        self._check_actor()

    def _check_actor(self) -> None:
        """Refuse what would have a say in an action, and is not asked here."""
        decides = policy_decides(self, self.action_space) and _is_stock(self.policy) and _is_stock(self.actor)
        if not decides or self.action_noise is not None or self.learning_starts or self.use_sde:
            raise ConfigError(
                "overlap: needs an agent whose actions are what its actor draws, such as SAC, TD3 or TQC, with a "
                "policy of Stable-Baselines3's own, without hooks, action_noise, learning_starts, use_sde or "
                "random_rollouts. Leave overlap out."
            )

    def _setup_learn(self, *args: Any, **kwargs: Any) -> Any:
        self._check_actor()  # again, since a hook may have been added
        if (pending := self._take_pending()) is not None:
            wait([pending])  # of a run that is over: nobody asks for its rollouts any more, nor for its error
        return super()._setup_learn(*args, **kwargs)

    def _take_pending(self) -> Future[list[CollectedStep]] | None:
        pending, self._pending = self._pending, None
        return pending

    def _steps(
        self, env: PenalizedModelVecEnv, num_steps: int, learning_starts: int, action_noise: ActionNoise | None
    ) -> Iterator[CollectedStep]:
        pending = self._take_pending()
        options = env, num_steps, self._rollout_generator
        yield from _roll_out(self.actor, *options) if pending is None else pending.result()
        if self.num_timesteps < self._total_timesteps:
            actor = copy.deepcopy(self.actor)  # the updates go on changing the other
            thread = ThreadPoolExecutor(max_workers=1)
            self._pending = thread.submit(_roll_out, actor, *options)
            thread.shutdown(wait=False)

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_pending", "_rollout_generator"]


def _roll_out(
    actor: nn.Module, env: PenalizedModelVecEnv, num_steps: int, generator: torch.Generator
) -> list[CollectedStep]:
    steps = []
    for _ in range(num_steps):
        observations = env.rollouts.observations
        scaled = by_parts(lambda rows: _draw(actor, rows, generator), observations.to(generator.device))
        actions = to_model(scaled, env)
        steps.append((observations, actions, scaled, env.rollouts.advance(actions)))
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
    return squash(mean, log_std, noise)


def _is_stock(network: nn.Module) -> bool:
    """Return whether a network is of a class that comes with an agent, and nothing was changed about it."""
    return type(network).__module__.split(".")[0] in ("stable_baselines3", "sb3_contrib") and is_untouched(network)
