"""Unit-test a penalty: choose what the model predicts, and check what the environment pays."""

import numpy as np
import torch

from mopo_env import PenalizedModel, PenalizedModelEnv
from mopo_env.penalties import ensemble_disagreement
from mopo_env.toys import LinearGaussianSystem, StubEnsemble

transitions = LinearGaussianSystem().start_transitions([0.0, 0.0])


def stay(observations: torch.Tensor, actions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Predict that nothing moves and that every step pays 1."""
    return observations, torch.ones(len(observations))


# Two members. Their standard deviations of (position, velocity, reward) have the norms 5 and 1.
model = StubEnsemble(2, 1, mean=stay, std=[[0.0, 3.0, 4.0], [0.0, 1.0, 0.0]])
env = PenalizedModelEnv(PenalizedModel(model, transitions, penalty_coef=2.0), horizon=10)
env.reset(seed=0)
_, reward, _, _, info = env.step(np.zeros(1, dtype=np.float32))
assert info["penalty"] == 5.0  # the larger norm, the reward's part included
assert np.isclose(reward, info["reward_model"] - 2.0 * 5.0)


# Your own penalty is a function from the prediction to one number for each row.
def uncertainty_of_velocity(prediction) -> torch.Tensor:
    """Return the largest standard deviation of the velocity over the members."""
    return prediction.std[..., 1].amax(dim=0)


env = PenalizedModelEnv(PenalizedModel(model, transitions, penalty=uncertainty_of_velocity), horizon=10)
env.reset(seed=0)
assert env.step(np.zeros(1, dtype=np.float32))[4]["penalty"] == 3.0

# Both members predict the same mean, so their disagreement is zero.
env = PenalizedModelEnv(PenalizedModel(model, transitions, penalty=ensemble_disagreement), horizon=10)
env.reset(seed=0)
assert env.step(np.zeros(1, dtype=np.float32))[4]["penalty"] == 0.0
print("the penalty moves the reward as computed by hand")
