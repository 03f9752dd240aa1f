"""From a CSV to a policy, and into the real environment: Pendulum-v1."""

from data.pendulum import write_log
from gymnasium.spaces import Box

import mopo_env
from mopo_agents import evaluate, make_agent

EPOCHS, ROLLOUTS, UPDATES, HORIZON = 20, 2_000, 500, 10
FIT_EPOCHS = 75

write_log("pendulum.csv")  # 60 episodes with a poor operator
log = mopo_env.load_table(
    "pendulum.csv",
    observations=["cos", "sin", "speed"],
    next_observations=["cos_after", "sin_after", "speed_after"],
    actions=["torque"],
    action_space=Box(-2.0, 2.0, (1,)),
    reward="reward",
    episode="episode",
)
print(f"the operator's return: mean {log.episode_returns.mean():.0f}, best {log.episode_returns.max():.0f}")

config = mopo_env.FitConfig(hidden_sizes=(64, 64), weight_decay=(1e-5, 1e-5, 1e-5), max_epochs=FIT_EPOCHS)
model = mopo_env.fit_ensemble(log, config, progress=False)
penalized_model = mopo_env.PenalizedModel(model, log, penalty="ensemble-std")
agent = make_agent("SAC", penalized_model, horizon=HORIZON, rollout_batch_size=ROLLOUTS, gradient_steps=UPDATES)
agent.learn(EPOCHS * ROLLOUTS * HORIZON, log_interval=None)
print(f"the policy's return in the real environment: {evaluate(agent, real_env='Pendulum-v1').mean:.0f}")
