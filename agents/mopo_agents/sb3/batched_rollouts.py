"""Model rollouts in which thousands of transitions move as one: from the policy through the model to the buffer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium.spaces import Box, Space
from jaxtyping import Float, Shaped
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import RolloutReturn, TrainFreq, TrainFrequencyUnit
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from mopo_agents.replay_buffer import MixedReplayBuffer
from mopo_agents.sb3.mixins import apply_mixin
from mopo_agents.vec_env import PenalizedModelVecEnv, RolloutInfos
from mopo_env._utils.arrays import check_actions
from mopo_env.envs.rollouts import RolloutStep
from mopo_env.errors import InputError

__all__ = ["BatchedRollouts", "CollectedStep", "by_parts", "policy_decides", "unscaled", "with_batched_rollouts"]

_ROWS_AT_ONCE = 512  # of a policy on a CPU: the activations between two layers of 256 units stay in its cache

# Of Stable-Baselines3's loop; a class that changes one of them keeps the loop.
_REPLACED = ("collect_rollouts", "_store_transition", "_update_info_buffer")


class CollectedStep(NamedTuple):
    """One step of every rollout: s, a as the replay buffer keeps it, and what came of them."""

    observations: Float[Tensor, "env observation"]
    buffer_actions: Shaped[Tensor, "env ..."]
    step: RolloutStep[Tensor]


class BatchedRollouts(OffPolicyAlgorithm):
    """Put before an off-policy agent's class, this rolls the model out without a Python object for each transition.

    What is collected is what Stable-Baselines3's own loop collects; wherever something else than a model is to be
    stepped, or stored into, that loop does it. Callbacks find `rewards`, `dones` and `infos` in their `locals`.
    """

    def collect_rollouts(
        self,
        env: VecEnv,
        callback: BaseCallback,
        train_freq: TrainFreq,
        replay_buffer: ReplayBuffer,
        action_noise: ActionNoise | None = None,
        learning_starts: int = 0,
        log_interval: int | None = None,
    ) -> RolloutReturn:
        """Step every rollout h times (paper, Algorithm 2, lines 6 to 10); the arguments are Stable-Baselines3's.

        Raises:
            InputError: If the policy chose actions that are not finite.
        """
        if not (
            isinstance(env, PenalizedModelVecEnv)
            and isinstance(replay_buffer, MixedReplayBuffer)
            and train_freq.unit == TrainFrequencyUnit.STEP
            and not self.use_sde
        ):
            return super().collect_rollouts(
                env, callback, train_freq, replay_buffer, action_noise, learning_starts, log_interval
            )
        self.policy.set_training_mode(False)
        callback.on_rollout_start()
        num_episodes, finite = 0, torch.ones((), dtype=torch.bool, device=self.device)
        steps = self._steps(env, train_freq.frequency, learning_starts, action_noise)
        for num_steps, (observations, buffer_actions, step) in enumerate(steps, start=1):
            finite &= buffer_actions.isfinite().all().to(self.device)
            self.num_timesteps += env.num_envs
            rewards, dones, infos = _on_host(step.rewards), _on_host(step.dones), RolloutInfos(step)
            callback.update_locals(locals())
            if not callback.on_step():
                return RolloutReturn(num_steps * env.num_envs, num_episodes, continue_training=False)
            timeouts = step.truncations & ~step.terminations
            replay_buffer.add_rows(
                observations, buffer_actions, step.final_observations, step.rewards, step.dones, timeouts
            )
            self._last_obs = _on_host(step.observations)
            self._update_current_progress_remaining(self.num_timesteps, self._total_timesteps)
            self._on_step()
            num_episodes += self._count_episodes(dones, infos, action_noise, log_interval)
        if not finite:  # asked once, since a GPU has to be waited for
            raise InputError("actions: the policy's are not finite any more. Were rewards or learning rate too large?")
        callback.on_rollout_end()
        return RolloutReturn(train_freq.frequency * env.num_envs, num_episodes, continue_training=True)

    def _steps(
        self, env: PenalizedModelVecEnv, num_steps: int, learning_starts: int, action_noise: ActionNoise | None
    ) -> Iterator[CollectedStep]:
        """Step every rollout so many times; whoever asks for the next step is done with the last one."""
        for _ in range(num_steps):
            observations = env.rollouts.observations
            actions, buffer_actions = self._choose(env, learning_starts, action_noise)
            yield CollectedStep(observations, buffer_actions, env.rollouts.advance(actions))

    def _choose(
        self, env: PenalizedModelVecEnv, learning_starts: int, action_noise: ActionNoise | None
    ) -> tuple[Shaped[Tensor, "env ..."], Shaped[Tensor, "env ..."]]:
        """Return actions in raw units, and as the replay buffer keeps them."""
        space = env.action_space
        if action_noise is not None or self.num_timesteps < learning_starts or not policy_decides(self, space):
            chosen = self._sample_action(learning_starts, action_noise, env.num_envs)
            actions = torch.from_numpy(
                check_actions("actions", chosen[0], env.rollouts.penalized_model.action_space, env.num_envs)
            )
            return actions.to(env.rollouts.penalized_model.device), torch.from_numpy(np.asarray(chosen[1]))
        scaled = by_parts(self.policy._predict, env.rollouts.observations.to(self.device))
        return unscaled(scaled, env), scaled

    def _count_episodes(
        self, dones: np.ndarray, infos: RolloutInfos, action_noise: ActionNoise | None, log_interval: int | None
    ) -> int:
        """Keep Stable-Baselines3's books on rollouts that ended; return how many did."""
        ended = np.flatnonzero(dones)
        if len(ended) == 0:
            return 0
        if self.ep_info_buffer is not None:
            newest = ended[-(self.ep_info_buffer.maxlen or 0) :]
            self.ep_info_buffer.extend(infos.episode(index) for index in newest.tolist())
        if action_noise is not None:
            action_noise.reset(**({"indices": ended} if len(dones) > 1 else {}))
        before, self._episode_num = self._episode_num, self._episode_num + len(ended)
        if log_interval is not None and self._episode_num // log_interval > before // log_interval:
            self.dump_logs()
        return len(ended)


def with_batched_rollouts(agent_class: type[BaseAlgorithm]) -> type[BaseAlgorithm]:
    """Return a subclass of an off-policy agent's class that rolls out in batches; it goes by the name of the class.

    A class that changes the loop, or what it stores, is returned as it is.
    """
    if any(getattr(agent_class, name) is not getattr(OffPolicyAlgorithm, name) for name in _REPLACED):
        return agent_class
    return apply_mixin(BatchedRollouts, agent_class)


@torch.no_grad()
def by_parts(
    policy: Callable[[Tensor], Tensor], observations: Float[Tensor, "env observation"]
) -> Float[Tensor, "env action"]:
    """Ask a policy about all rows, on a CPU a few at a time."""
    size = _ROWS_AT_ONCE if observations.device.type == "cpu" else len(observations)
    return torch.cat([policy(rows) for rows in torch.split(observations, size)])


def unscaled(actions: Float[Tensor, "env action"], env: PenalizedModelVecEnv) -> Float[Tensor, "env action"]:
    """Return actions from −1…1 in raw units, on the model's device."""
    space, penalized_model = env.action_space, env.rollouts.penalized_model
    if not isinstance(space, Box):
        raise TypeError(f"expected actions of a Box, found {space}.")
    low, high = (torch.from_numpy(bound).to(actions) for bound in (space.low, space.high))
    return (low + 0.5 * (actions + 1.0) * (high - low)).to(penalized_model.device)


def policy_decides(agent: OffPolicyAlgorithm, space: Space[Any]) -> bool:
    """Return whether an action is what PyTorch networks draw, scaled from −1…1, and nothing else has a say in it."""
    theirs = (
        (agent, OffPolicyAlgorithm, "_sample_action"),
        (agent, BaseAlgorithm, "predict"),
        (agent.policy, BasePolicy, "predict"),
    )
    untouched = all(getattr(type(found), name) is getattr(kind, name) for found, kind, name in theirs)
    return untouched and isinstance(space, Box) and agent.policy.squash_output


def _on_host(tensor: Tensor) -> np.ndarray:
    array: np.ndarray = tensor.cpu().numpy()
    return array
