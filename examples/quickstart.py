"""MOPO in ten lines: from recorded data to a policy, and only then into the real environment."""

import gymnasium as gym

import mopo_env  # registers the ids
from mopo_agents import evaluate, make_agent

EPOCHS, ROLLOUTS, UPDATES, HORIZON = 30, 20_000, 1000, 5

env = gym.make("MOPO-halfcheetah-mixed")  # a model learned from 101,000 recorded steps
observation, _ = env.reset(seed=0)
observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
print(f"{reward:.2f} = the model's reward {info['reward_model']:.2f} − 1.0 × its uncertainty {info['penalty']:.2f}")

penalized_model = mopo_env.make_penalized_model("halfcheetah-mixed")  # the same, in batches
agent = make_agent("SAC", penalized_model, horizon=HORIZON, rollout_batch_size=ROLLOUTS, gradient_steps=UPDATES)
agent.learn(EPOCHS * ROLLOUTS * HORIZON, log_interval=None)
print(f"return in MuJoCo: {evaluate(agent, 'halfcheetah-mixed').mean:.0f}")
