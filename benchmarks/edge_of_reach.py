"""Is it the model that holds an agent back, or the rollouts? Training in the true dynamics tells.

    python benchmarks/edge_of_reach.py --task hopper-mixed --horizon 5 --critics 2 --epochs 30

Rollouts of h steps end in states that critics bootstrap from and never update: the "edge of reach" (Sims et al., 2024).
If that is harmful, an agent fails even where the model is MuJoCo itself and nothing is penalised, and the minimum of
more critics helps. After each tenth epoch one line has the return in MuJoCo, the critics' value where recorded
episodes begin, and the discounted return from there with the policy's own stochastic actions.
"""

from __future__ import annotations

import numpy as np
import torch
import tyro
from common import header

from mopo_agents.agents import make_agent
from mopo_agents.evaluation import evaluate
from mopo_env import PenalizedModel, TrueDynamics, load_dataset
from mopo_env.tasks import get_task

DISCOUNT = 0.99
# Beyond so many steps, γ leaves less than a hundredth.
STEPS = 500


def main(
    task: str = "hopper-mixed", horizon: int = 5, critics: int = 2, epochs: int = 30, rows: int = 100_000, seed: int = 0
) -> None:
    """Train, and print a line after every tenth epoch.

    Args:
        task: A task of a robot that `TrueDynamics` knows.
        horizon: h.
        critics: N, of which the minimum counts.
        epochs: Epochs of 1000 updates.
        rows: b·h, the transitions of an epoch, whatever h is.
        seed: Of the agent.
    """
    known, data = get_task(task), load_dataset(task)
    truth = TrueDynamics(str(known.real_env_id))
    model = PenalizedModel(truth, data, penalty="none", penalty_coef=0.0, termination=known.termination)
    agent = make_agent(
        "SAC",
        model,
        horizon=horizon,
        rollout_batch_size=rows // horizon,
        seed=seed,
        policy_kwargs={"n_critics": critics, "net_arch": [256, 256]},
    )
    print(header(f"{task} in the true dynamics, h = {horizon}, {critics} critics, seed {seed}"))
    starts = data.observations[np.append(0, data.episode_ends[:-1] + 1)][:200]
    for epoch in range(10, epochs + 1, 10):
        agent.learn(10 * rows, log_interval=None, reset_num_timesteps=epoch == 10)
        real = evaluate(agent, known, seed=epoch).mean
        print(f"epoch {epoch}: return {real:.0f}, {_compare(agent, model, starts)}", flush=True)


@torch.no_grad()
def _compare(agent: object, model: PenalizedModel, starts: np.ndarray) -> str:
    """Return the critics' mean value at the starts, and the mean discounted return from there."""
    observations, alive, returns = starts, np.ones(len(starts), dtype=bool), np.zeros(len(starts))
    generator = torch.Generator().manual_seed(0)
    actions, _ = agent.predict(observations)  # type: ignore[attr-defined]
    scaled = agent.policy.scale_action(actions)  # type: ignore[attr-defined]
    values = torch.cat(agent.critic(torch.tensor(observations), torch.tensor(scaled)), dim=1)  # type: ignore[attr-defined]
    value = float(values.amin(dim=1).mean())
    for step in range(STEPS):
        done = model.step(torch.tensor(observations), torch.tensor(actions), generator)
        returns[alive] += DISCOUNT**step * done.rewards.numpy()[alive]
        alive &= ~done.terminations.numpy()
        observations = done.next_observations.numpy()
        actions, _ = agent.predict(observations)  # type: ignore[attr-defined]
    return f"value {value:.0f}, discounted return {returns.mean():.0f}"


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
