"""Batched model rollouts: thousands of transitions at a time, from the policy through the model to the buffer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
import torch
from gymnasium.spaces import Box, Space
from jaxtyping import Float, Shaped
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import RolloutReturn, TrainFreq, TrainFrequencyUnit
from torch import Tensor

from mopo_agents._utils.action_scale import unscale_actions
from mopo_agents.replay_buffer import MixedReplayBuffer
from mopo_agents.sb3.mixins import FastPath
from mopo_agents.vec_env import PenalizedModelVecEnv, RolloutInfos
from mopo_env._utils.arrays import check_actions
from mopo_env.envs.rollouts import RolloutStep
from mopo_env.errors import InputError

_ROWS_AT_ONCE = 512  # on a CPU: the activations between two layers of 256 units then fit in its cache

# Methods of Stable-Baselines3's loop; a class that overrides one of them keeps the loop.
_REPLACED = ("collect_rollouts", "_store_transition", "_update_info_buffer")

# One step of every rollout: s, a in raw units, a as in the replay buffer, and the outcome.
CollectedStep: TypeAlias = tuple[Tensor, Tensor, Tensor, RolloutStep[Tensor]]


class BatchedRollouts(FastPath):
    """Mixin for off-policy agents whose `collect_rollouts` makes no Python object for each transition.

    It collects the same transitions as Stable-Baselines3's own loop, which still runs for other environments and
    buffers. Callbacks find the same names in their `locals`.
    """

    @staticmethod
    def fits(agent_class: type[BaseAlgorithm]) -> bool:
        """Return whether a class uses Stable-Baselines3's loop unchanged."""
        return all(getattr(agent_class, name) is getattr(OffPolicyAlgorithm, name) for name in _REPLACED)

    def replaced(self) -> dict[str, str]:
        """Add which code runs for rollouts."""
        if not self._can_batch(self.env, self.replay_buffer, self.train_freq):
            return super().replaced()
        return {**super().replaced(), "rollouts": "by mopo_agents in batches"}

    def collect_rollouts(
        self,
        env: Any,
        callback: BaseCallback,
        train_freq: TrainFreq,
        replay_buffer: Any,
        action_noise: ActionNoise | None = None,
        learning_starts: int = 0,
        log_interval: int | None = None,
    ) -> RolloutReturn:
        """Step every rollout h times (paper, Algorithm 2, lines 6 to 10); the arguments are Stable-Baselines3's.

        Raises:
            InputError: If the policy chose non-finite actions.
        """
        if not self._can_batch(env, replay_buffer, train_freq):
            return super().collect_rollouts(
                env, callback, train_freq, replay_buffer, action_noise, learning_starts, log_interval
            )
        self.policy.set_training_mode(False)
        callback.on_rollout_start()
        num_collected_episodes, continue_training = 0, True
        finite = torch.ones((), dtype=torch.bool, device=self.device)
        steps = self._steps(env, train_freq.frequency, learning_starts, action_noise)
        for num_collected_steps, (observations, raw_actions, scaled_actions, step) in enumerate(steps, start=1):
            finite &= scaled_actions.isfinite().all().to(self.device)
            self.num_timesteps += env.num_envs
            # Callbacks find these under the names of Stable-Baselines3's loop.
            actions, buffer_actions, new_obs = map(_on_host, (raw_actions, scaled_actions, step.observations))
            rewards, dones, infos = _on_host(step.rewards), _on_host(step.dones), RolloutInfos(step)
            callback.update_locals(locals())
            if not callback.on_step():
                return RolloutReturn(num_collected_steps * env.num_envs, num_collected_episodes, False)
            timeouts = step.truncations & ~step.terminations
            replay_buffer.add_rows(
                observations, scaled_actions, step.final_observations, step.rewards, step.dones, timeouts
            )
            self._last_obs = new_obs
            self._update_current_progress_remaining(self.num_timesteps, self._total_timesteps)
            self._on_step()
            num_collected_episodes += self._count_episodes(dones, infos, action_noise, log_interval)
        if not finite:  # checked once an epoch, because the check waits for the GPU
            raise InputError(
                "actions: the policy's actions are not finite. Are the rewards or the learning rate too large?"
            )
        callback.on_rollout_end()
        return RolloutReturn(train_freq.frequency * env.num_envs, num_collected_episodes, continue_training)

    def _can_batch(self, env: Any, replay_buffer: Any, train_freq: Any) -> bool:
        return (
            isinstance(env, PenalizedModelVecEnv)
            and isinstance(replay_buffer, MixedReplayBuffer)
            and train_freq.unit == TrainFrequencyUnit.STEP
            and not self.use_sde
        )

    def _steps(
        self, env: PenalizedModelVecEnv, num_steps: int, learning_starts: int, action_noise: ActionNoise | None
    ) -> Iterator[CollectedStep]:
        """Yield `num_steps` steps of every rollout; each step runs when the caller asks for it."""
        for _ in range(num_steps):
            observations = env.rollouts.observations
            actions, buffer_actions = self._choose(env, learning_starts, action_noise)
            yield observations, actions, buffer_actions, env.rollouts.advance(actions)

    def _choose(
        self, env: PenalizedModelVecEnv, learning_starts: int, action_noise: ActionNoise | None
    ) -> tuple[Shaped[Tensor, "env ..."], Shaped[Tensor, "env ..."]]:
        """Return actions in raw units, and as stored in the replay buffer."""
        space = env.action_space
        if action_noise is not None or self.num_timesteps < learning_starts or not policy_decides(self, space):
            chosen = self._sample_action(learning_starts, action_noise, env.num_envs)
            actions = torch.from_numpy(
                check_actions("actions", chosen[0], env.rollouts.penalized_model.action_space, env.num_envs)
            )
            return actions.to(env.rollouts.penalized_model.device), torch.from_numpy(np.asarray(chosen[1]))
        scaled = by_parts(self.policy._predict, env.rollouts.observations.to(self.device))
        return to_model(scaled, env), scaled

    def _count_episodes(
        self, dones: np.ndarray, infos: RolloutInfos, action_noise: ActionNoise | None, log_interval: int | None
    ) -> int:
        """Do Stable-Baselines3's bookkeeping for rollouts that ended, and return their number."""
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


@torch.no_grad()
def by_parts(
    policy: Callable[[Tensor], Tensor], observations: Float[Tensor, "env observation"]
) -> Float[Tensor, "env action"]:
    """Apply a policy to all rows; on a CPU, to a few rows at a time."""
    size = _ROWS_AT_ONCE if observations.device.type == "cpu" else len(observations)
    return torch.cat([policy(rows) for rows in torch.split(observations, size)])


def to_model(scaled: Float[Tensor, "env action"], env: PenalizedModelVecEnv) -> Float[Tensor, "env action"]:
    """Convert actions from −1…1 to raw units, on the model's device."""
    penalized_model = env.rollouts.penalized_model
    if not isinstance(penalized_model.action_space, Box):
        raise TypeError(f"expected actions of a Box, found {penalized_model.action_space}.")
    return unscale_actions(scaled, penalized_model.action_space).to(penalized_model.device)


def policy_decides(agent: OffPolicyAlgorithm, space: Space[Any]) -> bool:
    """Return whether the policy's networks alone determine an action, in −1…1, by Stable-Baselines3's own code."""
    of_policy = ("predict", "obs_to_tensor", "scale_action", "unscale_action")
    theirs: list[tuple[Any, type, str]] = [(agent.policy, BasePolicy, name) for name in of_policy]
    theirs += [(agent, OffPolicyAlgorithm, "_sample_action"), (agent, BaseAlgorithm, "predict")]
    untouched = (getattr(getattr(found, name), "__func__", None) is getattr(kind, name) for found, kind, name in theirs)
    return all(untouched) and isinstance(space, Box) and agent.policy.squash_output


def _on_host(tensor: Tensor) -> np.ndarray:
    array: np.ndarray = tensor.cpu().numpy()
    return array
