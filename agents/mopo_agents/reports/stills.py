"""Stills of a policy's episodes in its model, where the states of a robot can be drawn."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from mopo_agents.evaluation import Policy
from mopo_agents.trust.model_returns import first_observations
from mopo_agents.trust.score import scoring_horizon, scoring_model
from mopo_env.envs.envelope import EXITS
from mopo_env.envs.penalized_model import PenalizedModel
from mopo_env.errors import ConfigError, require_extra
from mopo_env.figures.canvas import new_figure
from mopo_env.real.robots import ROBOTS
from mopo_env.tasks import Task

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_stills(
    policy: Policy, penalized_model: PenalizedModel, task: Task, *, stills: int = 7, size: int = 170, seed: int = 0
) -> Figure:
    """Draw one episode of a policy as two members of its model see it: the one that pays least, and the one that most.

    Both begin where a recorded episode begins, in the model in which policies are scored.

    Args:
        policy: Anything with Stable-Baselines3's `predict`; its deterministic actions count.
        penalized_model: A model with members.
        task: The task, whose robot is drawn.
        stills: Pictures of a strip, from the first state to the last.
        size: Width and height of a picture, in pixels.
        seed: Of the start state and of the model's draws.

    Raises:
        ConfigError: If the states of the task cannot be drawn, or not on this machine.
        MissingExtraError: If MuJoCo or matplotlib is not installed.
    """
    if task.real_env_id not in ROBOTS:
        raise ConfigError(f"the states of {task.label} cannot be drawn.")
    require_extra("mujoco", "mujoco")
    from mopo_env.real.drawing import StateRenderer

    episodes = sorted(_episodes(policy, scoring_model(penalized_model), seed), key=lambda episode: episode.total)
    shown = [episodes[0], episodes[-1]] if len(episodes) > 1 else episodes
    figure, all_axes = new_figure(width=1.35 * stills, heights=[1.8] * len(shown))
    with closing(StateRenderer(task.real_env_id, width=size, height=size)) as renderer:
        for episode, axes in zip(shown, all_axes, strict=True):
            # After a minute, a runner would be beyond the end of the floor, so all stand at the origin.
            steps = np.linspace(0, len(episode.states) - 1, stills).round().astype(int)
            pictures = [renderer.draw(episode.states[step]) for step in steps]
            # The figure must not scale the pictures down to its own dots.
            axes.imshow(np.concatenate(pictures, axis=1), interpolation="none")
            axes.set_xticks(size * (np.arange(stills) + 0.5), [f"step {step}" for step in steps], fontsize=8)
            axes.set_yticks([])
            axes.spines[:].set_visible(False)
            axes.tick_params(length=0)
            axes.set_title(f"member {episode.member}: {episode.words}", loc="left", fontsize=9)
    return figure


@dataclass
class _Episode:
    member: int
    states: list[np.ndarray]
    total: float = 0.0
    end: str = "not ended"

    @property
    def words(self) -> str:
        return f"return {self.total:.0f} in {len(self.states) - 1} steps, {self.end}"


@torch.no_grad()
def _episodes(policy: Policy, model: PenalizedModel, seed: int) -> list[_Episode]:
    """Return an episode of each elite from the same start, up to its last finite state."""
    starts, elites = first_observations(model.transitions), cast(torch.Tensor, cast(Any, model.model).elites)
    start = starts[np.random.default_rng(seed).integers(len(starts))]
    generator = torch.Generator(model.device).manual_seed(seed)
    observations = torch.tensor(start, device=model.device).repeat(len(elites), 1)
    episodes = [_Episode(int(member), [start]) for member in elites]
    going = torch.ones(len(elites), dtype=torch.bool, device=model.device)
    for _ in range(scoring_horizon(model.transitions)):
        actions, _ = policy.predict(observations.cpu().numpy(), deterministic=True)
        step = model.step(observations, torch.as_tensor(actions).to(model.device), generator, elites)
        for row in going.nonzero()[:, 0].tolist():
            episode, after = episodes[row], step.next_observations[row].cpu().numpy()
            episode.total += float(step.model_rewards[row])
            if np.isfinite(after).all():
                episode.states.append(after)
            if step.terminations[row] or step.truncations[row]:
                reason = EXITS[int(step.exits[row])]
                episode.end = f"left the data ({reason})" if reason else "ended by the rule"
        observations = torch.where(going[:, None], step.next_observations, observations)
        going &= ~(step.terminations | step.truncations)
        if not going.any():
            break
    return episodes
