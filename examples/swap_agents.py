"""Any Stable-Baselines3 agent: by name, by class, or on the plain environment."""

import gymnasium as gym
from sb3_contrib import TQC
from stable_baselines3 import SAC

import mopo_env
from mopo_agents import evaluate, make_agent

EPOCHS, ROLLOUTS, UPDATES, HORIZON = 10, 5_000, 500, 5

penalized_model = mopo_env.make_penalized_model("halfcheetah-mixed")
for agent in ("SAC", "TD3", "CrossQ", "SBX-SAC", TQC):  # names in any case, or any off-policy class
    model = make_agent(agent, penalized_model, horizon=HORIZON, rollout_batch_size=ROLLOUTS, gradient_steps=UPDATES)
    model.learn(EPOCHS * ROLLOUTS * HORIZON, log_interval=None)
    print(f"{type(model).__name__}: return {evaluate(model, 'halfcheetah-mixed', episodes=3).mean:.0f}")

# On-policy agents train on the same rollouts. They cannot use the dataset's own rows.
model = make_agent("PPO", penalized_model, horizon=HORIZON, rollout_batch_size=1000, n_epochs=2, batch_size=1000)
model.learn(EPOCHS * 1000 * HORIZON)
print(f"{type(model).__name__}: return {evaluate(model, 'halfcheetah-mixed', episodes=3).mean:.0f}")

# The plain environment is a standard one: anything for Gymnasium trains in it, but more slowly.
model = SAC("MlpPolicy", gym.make("MOPO-halfcheetah-mixed"), learning_starts=100)
model.learn(10 * UPDATES)
print(f"{type(model).__name__} on one environment: {model.num_timesteps:,} model transitions")
