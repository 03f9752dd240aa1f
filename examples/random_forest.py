"""A random forest of scikit-learn as the model: every tree is a member, and their disagreement is the penalty."""

import numpy as np
import torch
from data.pendulum import write_log
from gymnasium.spaces import Box
from sklearn.ensemble import RandomForestRegressor

import mopo_env
from mopo_agents import evaluate, make_agent

EPOCHS, ROLLOUTS, UPDATES, HORIZON = 10, 1_000, 500, 10
TREES = 10

write_log("pendulum.csv")
log = mopo_env.load_table(
    "pendulum.csv",
    observations=["cos", "sin", "speed"],
    next_observations=["cos_after", "sin_after", "speed_after"],
    actions=["torque"],
    action_space=Box(-2.0, 2.0, (1,)),
    reward="reward",
    episode="episode",
)
inputs = np.concatenate([log.observations, log.actions], axis=1)
changes = np.concatenate([log.next_observations - log.observations, log.rewards[:, None]], axis=1)
forest = RandomForestRegressor(TREES, min_samples_leaf=3, random_state=0).fit(inputs, changes)


def trees(observations: torch.Tensor, actions: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Return the prediction of every tree, without noise."""
    rows = torch.cat([observations, actions], dim=1).numpy()
    mean = np.stack([tree.predict(rows) for tree in forest.estimators_])
    mean[..., :-1] += observations.numpy()  # the trees predict changes, the model next states
    return mean, np.zeros_like(mean)


model = mopo_env.FunctionModel(trees, observation_dim=3, action_dim=1, num_members=TREES)
penalized_model = mopo_env.PenalizedModel(model, log, penalty="ensemble-disagreement", mean_penalty=0.5)
agent = make_agent("SAC", penalized_model, horizon=HORIZON, rollout_batch_size=ROLLOUTS, gradient_steps=UPDATES)
agent.learn(EPOCHS * ROLLOUTS * HORIZON, log_interval=None)
print(f"the operator's mean return: {log.episode_returns.mean():.0f}")
print(f"the policy's return in the real environment: {evaluate(agent, real_env='Pendulum-v1').mean:.0f}")
