"""Three penalties on one model, judged in the real pendulum: none, the default, and one of your own."""

import torch
from data.pendulum import write_log
from gymnasium.spaces import Box

import mopo_env
from mopo_agents import evaluate, make_agent

EPOCHS, ROLLOUTS, UPDATES, HORIZON = 10, 2_000, 500, 10
FIT_EPOCHS = 40

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
config = mopo_env.FitConfig(hidden_sizes=(64, 64), weight_decay=(1e-5, 1e-5, 1e-5), max_epochs=FIT_EPOCHS)
model = mopo_env.fit_ensemble(log, config, progress=False)


def off_the_circle(prediction) -> torch.Tensor:
    """Return how far the members' predictions are from cos² + sin² = 1: physics that the networks do not know."""
    cos, sin = prediction.mean[..., 0], prediction.mean[..., 1]
    return (torch.hypot(cos, sin) - 1.0).abs().amax(dim=0)


for name, penalty in {"none": "none", "ensemble-std": "ensemble-std", "off the circle": off_the_circle}.items():
    weight = {} if penalty == "none" else {"mean_penalty": 0.5}  # so that both cost the same on the data
    penalized_model = mopo_env.PenalizedModel(model, log, penalty=penalty, **weight)
    agent = make_agent("SAC", penalized_model, horizon=HORIZON, rollout_batch_size=ROLLOUTS, gradient_steps=UPDATES)
    agent.learn(EPOCHS * ROLLOUTS * HORIZON, log_interval=None)
    print(f"penalty {name}: return {evaluate(agent, real_env='Pendulum-v1').mean:.0f}")
