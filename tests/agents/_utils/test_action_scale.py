"""One scale of actions for datasets, rollouts and policies."""

from __future__ import annotations

import numpy as np
import torch
from gymnasium.spaces import Box
from stable_baselines3 import SAC
from stable_baselines3.common.envs import IdentityEnvBox

from mopo_agents._utils.action_scale import scale_actions, unscale_actions

SPACE = Box(np.float32([0.0, -3.0]), np.float32([10.0, 1.0]), dtype=np.float32)
RAW = np.float32([[0.0, -3.0], [10.0, 1.0], [2.5, 0.0]])
SCALED = np.float32([[-1.0, -1.0], [1.0, 1.0], [-0.5, 0.5]])


def test_arrays_and_tensors_are_scaled_alike_and_back() -> None:
    np.testing.assert_array_equal(scale_actions(RAW, SPACE), SCALED)
    np.testing.assert_array_equal(unscale_actions(SCALED, SPACE), RAW)
    assert torch.equal(scale_actions(torch.from_numpy(RAW), SPACE), torch.from_numpy(SCALED))
    assert torch.equal(unscale_actions(torch.from_numpy(SCALED), SPACE), torch.from_numpy(RAW))


def test_it_is_the_scale_of_stable_baselines_policies() -> None:
    """Else an agent would act on one scale and learn on another."""
    policy = SAC("MlpPolicy", IdentityEnvBox(low=-0.3, high=7.0), device="cpu").policy
    raw = np.random.default_rng(0).uniform(-0.3, 7.0, (50, 1)).astype(np.float32)
    scaled = policy.scale_action(raw)
    space = policy.action_space
    assert isinstance(space, Box)
    np.testing.assert_array_equal(scale_actions(raw, space), scaled)
    np.testing.assert_array_equal(unscale_actions(scaled, space), policy.unscale_action(scaled))
