"""Roll out the next epoch on a second core during the updates of this epoch.

This is opt-in, because it changes the algorithm: the policy of the rollouts is one epoch older than in the paper.
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

from mopo_agents.runs.state.generators import generator_state, set_generator_state
from mopo_agents.sb3.batched_rollouts import BatchedRollouts, CollectedStep, by_parts, policy_decides, to_model
from mopo_agents.sb3.mixins import is_untouched
from mopo_agents.sb3.squashed_gaussian import squash
from mopo_agents.vec_env import PenalizedModelVecEnv
from mopo_env.errors import ConfigError


class OverlappedRollouts(BatchedRollouts):
    """Mixin for agents with an actor: a thread rolls out while the agent updates.

    The thread draws from its own generator, so that the seed still determines every number.
    """

    _pending: Future[list[CollectedStep]] | None = None
    # The pending rollouts start from these: the policy of then, and the states of environment and generator.
    _pending_start: tuple[nn.Module, dict[str, Any], dict[str, Any]] | None = None

    def set_random_seed(self, seed: int | None = None) -> None:
        """Seed the agent, and the generator of the rollouts' actions."""
        super().set_random_seed(seed)
        child = np.random.SeedSequence(seed).spawn(1)[0]
        self._rollout_generator = torch.Generator(self.device).manual_seed(int(child.generate_state(1)[0]))

    def _setup_model(self) -> None:
        super()._setup_model()
        self._check_actor()

    def _check_actor(self) -> None:
        """Refuse an agent whose actions depend on more than its actor."""
        decides = policy_decides(self, self.action_space) and _is_stock(self.policy) and _is_stock(self.actor)
        if not decides or self.action_noise is not None or self.learning_starts or self.use_sde:
            raise ConfigError(
                "overlap: needs an agent whose actor alone draws the actions, such as SAC, TD3 or TQC, with one of "
                "Stable-Baselines3's own policies, without hooks, action_noise, learning_starts, use_sde or "
                "random_rollouts. Leave overlap out."
            )

    def _setup_learn(self, *args: Any, **kwargs: Any) -> Any:
        self._check_actor()  # again, since a hook may have been added
        if self._pending is not None:
            wait([self._pending])  # of an earlier run: neither its rollouts nor its error matter any more
            self._pending = self._pending_start = None
        return super()._setup_learn(*args, **kwargs)

    def get_pending(self) -> dict[str, Any] | None:
        """Return all that the pending rollouts depend on, so that they can be repeated; None: there are none."""
        if self._pending_start is None:
            return None
        actor, env, generator = self._pending_start
        weights = {name: np.array(tensor.cpu().numpy()) for name, tensor in actor.state_dict().items()}
        return {"actor": weights, "env": env, "generator": generator}

    def set_pending(self, state: dict[str, Any], env: PenalizedModelVecEnv) -> None:
        """Make the next `learn` start with the rollouts that were pending when the state was saved."""
        actor = copy.deepcopy(self.actor)
        actor.load_state_dict({name: torch.from_numpy(array) for name, array in state["actor"].items()})
        env.set_state(state["env"])
        set_generator_state(self._rollout_generator, state["generator"])
        self._pending_start = actor, state["env"], state["generator"]

    def _steps(
        self, env: PenalizedModelVecEnv, num_steps: int, learning_starts: int, action_noise: ActionNoise | None
    ) -> Iterator[CollectedStep]:
        options = env, num_steps, self._rollout_generator
        pending, start = self._pending, self._pending_start
        self._pending = self._pending_start = None
        actor = self.actor if start is None else start[0]
        yield from _roll_out(actor, *options) if pending is None else pending.result()
        if self.num_timesteps < self._total_timesteps:
            actor = copy.deepcopy(self.actor)  # the updates change the original
            self._pending_start = actor, env.get_state(), generator_state(self._rollout_generator)
            thread = ThreadPoolExecutor(max_workers=1)
            self._pending = thread.submit(_roll_out, actor, *options)
            thread.shutdown(wait=False)

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_pending", "_pending_start", "_rollout_generator"]


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
    """Draw from a squashed Gaussian, or ask the actor for its action if it has no distribution."""
    if not hasattr(actor, "get_action_dist_params"):
        action: Tensor = actor(observations)
        return action
    mean, log_std, _ = actor.get_action_dist_params(observations)
    noise = torch.randn(mean.shape, generator=generator, device=mean.device)
    return squash(mean, log_std, noise)


def _is_stock(network: nn.Module) -> bool:
    """Return whether a network is an unmodified one of Stable-Baselines3 or sb3-contrib."""
    return type(network).__module__.split(".")[0] in ("stable_baselines3", "sb3_contrib") and is_untouched(network)
