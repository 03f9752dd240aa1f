"""Discrete actions: random CartPole episodes, DQN in the model, and the real cart."""

import gymnasium as gym
import numpy as np

from mopo_agents import evaluate, make_agent
from mopo_env import Episode, FitConfig, PenalizedModel, Transitions, fit_ensemble

EPISODES, FIT_EPOCHS, EPOCHS, ROLLOUTS, UPDATES, HORIZON = 300, 70, 20, 500, 1000, 20


def record(env: gym.Env, seed: int) -> Episode:
    """Act at random until the episode ends."""
    states, actions, rewards, over = [env.reset(seed=seed)[0]], [], [], False
    while not over:
        actions.append(env.action_space.sample())
        state, reward, terminated, truncated, _ = env.step(actions[-1])
        states.append(state)
        rewards.append(reward)
        over = terminated or truncated
    arrays = [np.array(values) for values in (states, actions, rewards)]
    return Episode(**dict(zip(("observations", "actions", "rewards"), arrays, strict=True)), terminated=terminated)


env = gym.make("CartPole-v1")
env.action_space.seed(0)
log = [record(env, seed) for seed in range(EPISODES)]
transitions = Transitions.from_episodes(log, action_space=gym.spaces.Discrete(2))
model = fit_ensemble(transitions, FitConfig(max_epochs=FIT_EPOCHS))
penalized_model = PenalizedModel(model, transitions, termination="cartpole")
agent = make_agent("DQN", penalized_model, horizon=HORIZON, rollout_batch_size=ROLLOUTS, gradient_steps=UPDATES)
agent.learn(EPOCHS * ROLLOUTS * HORIZON, log_interval=None)
print(
    f"return of the data {transitions.episode_returns.mean():.0f}, of DQN {evaluate(agent, 'cartpole-mixed').mean:.0f}"
)
