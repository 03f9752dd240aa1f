"""From a log to a policy: a water heater without a simulator."""

from pathlib import Path

import numpy as np
import torch
from gymnasium.spaces import Box

import mopo_env
from mopo_agents import load_policy, make_agent, save_policy
from mopo_env.terminations import never

EPOCHS, ROLLOUTS, UPDATES, HORIZON = 12, 2_000, 500, 5

log = mopo_env.load_table(
    Path(__file__).parent / "data" / "heated_tank.csv",  # 98 runs with an operator at the valve and the heater
    observations=["level", "temperature", "demand"],
    next_observations=["level_after", "temperature_after", "demand_after"],
    actions=["valve", "heater"],
    action_space=Box(0.0, 1.0, (2,)),  # from closed to open, from off to full power
    reward="worth",
    terminated="tripped",
    episode="run",
)
print(f"{len(log):,} steps, {log.terminations.sum()} of them tripped the plant; mean reward {log.rewards.mean():.2f}")


# When does a run end? If you know the rule, write it. Otherwise learn it from the runs that ended, or choose `never`.
def trips(observations: torch.Tensor, actions: torch.Tensor, next_observations: torch.Tensor) -> torch.Tensor:
    """Return whether a limit in the plant's handbook is broken."""
    level, temperature = next_observations[:, 0], next_observations[:, 1]
    return (level <= 0.3) | (level >= 1.7) | (temperature >= 85.0)


learned = mopo_env.fit_termination(log, progress=False)
print(f"the learned rule on runs it never saw: {learned.metadata['test']}")
rows = [torch.tensor(array) for array in (log.observations, log.actions, log.next_observations)]
for name, rule in {"handbook": trips, "learned": learned, "never": never}.items():
    print(f"{name} calls {int(rule(*rows).sum())} steps the end of a run")

small = mopo_env.FitConfig(hidden_sizes=(64, 64))  # 3,000 rows need no more
model = mopo_env.fit_ensemble(log, small, progress=False)
penalized_model = mopo_env.PenalizedModel(model, log, penalty_coef=1.0, termination=learned)
agent = make_agent(
    "SAC",
    penalized_model,
    horizon=HORIZON,
    rollout_batch_size=ROLLOUTS,
    gradient_steps=UPDATES,
    standardise=True,  # metres and degrees differ in size; the policy sees both scaled
)
agent.learn(EPOCHS * ROLLOUTS * HORIZON, log_interval=None)

save_policy(agent, "tank-policy")  # tensors and JSON; loading them runs no code
policy = load_policy("tank-policy")
for level, temperature in [(1.0, 40.0), (1.0, 60.0), (1.0, 80.0), (0.5, 60.0), (1.5, 60.0)]:
    (valve, heater), _ = policy.predict(np.array([level, temperature, 1.0], dtype=np.float32), deterministic=True)
    print(f"at {level} m and {temperature} °C: valve {valve:.0%}, heater {heater:.0%}")
