"""Small models, small agents, and a small dataset of a robot's widths."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from helpers.transitions import transitions
from mopo_agents.agents import get_agent_class, make_agent
from mopo_env.envs.penalized_model import PenalizedModel
from mopo_env.toys import LinearGaussianSystem, StubEnsemble
from mopo_env.transitions import Transitions

# Bounds that are neither 1 nor symmetric: scaled and raw actions cannot be taken for each other.
LOW, HIGH = np.float32([0.0, -3.0]), np.float32([10.0, 1.0])
# sbx imports tensorflow_probability, which reads a name that jax has deprecated; nothing of ours is involved.
quiet_jax = pytest.mark.filterwarnings("ignore:jax.core.pytype_aval_mappings is deprecated:DeprecationWarning")


def penalized_model(
    num_actions: int | None = None, *, std: float = 0.1, num_members: int | None = None, **options: Any
) -> PenalizedModel:
    """Return a model of three numbers; its action has the bounds above, or is one of `num_actions`.

    Args:
        num_actions: Number of discrete actions; None: two continuous ones.
        std: Standard deviation of the model's predictions.
        num_members: Number of equal members of the model.
        **options: Of `PenalizedModel`.
    """
    space: Any = Box(LOW, HIGH, dtype=np.float32) if num_actions is None else Discrete(num_actions)
    actions = np.ones((20, 2)) if num_actions is None else np.arange(20) % num_actions
    model = StubEnsemble(
        3, num_actions or 2, mean=lambda s, a: (0.9 * s, a[:, 0] - a[:, 1]), std=std, num_members=num_members
    )
    return PenalizedModel(model, transitions(widths=(3, 2), actions=actions, action_space=space), **options)


def toy_model(**options: Any) -> PenalizedModel:
    """Return the linear-Gaussian system with its perfect model."""
    system = LinearGaussianSystem()
    return PenalizedModel(system.model(), system.transitions(seed=0), **options)


def make_small(agent: Any, model: PenalizedModel, **options: Any) -> Any:
    """Return an agent with a small network; an on-policy one gets no number of updates."""
    defaults: dict[str, Any] = {"policy_kwargs": {"net_arch": [8]}, "horizon": 2, "rollout_batch_size": 8}
    if not issubclass(get_agent_class(agent), OnPolicyAlgorithm):
        defaults["gradient_steps"] = 1
    elif agent == "PPO":
        defaults["batch_size"] = options.get("rollout_batch_size", 8)  # a divisor of b·h; SB3 warns of the others
    return make_agent(agent, model, **{**defaults, **options})


def halfcheetah_rows(rows: int = 100) -> Transitions:
    """Return random numbers of HalfCheetah's widths, in episodes of 50 steps: nothing is learned from them."""
    random = np.random.default_rng(0)
    return transitions(
        widths=(17, 6),
        next_observations=random.normal(size=(rows, 17)),
        rewards=random.normal(loc=2.0, size=rows),
        truncations=np.arange(rows) % 50 == 49,
    )


def weights(agent: Any) -> dict[str, np.ndarray]:
    """Return copies of all tensors of a policy."""
    return {name: tensor.numpy().copy() for name, tensor in agent.policy.state_dict().items()}


def same_weights(one: Any, other: Any) -> bool:
    """Tell whether two agents have the same weights bit for bit."""
    first, second = weights(one), weights(other)
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)


def set_global_seed(seed: int) -> None:
    """Seed the generators of NumPy and torch, which nothing of ours may read."""
    np.random.seed(seed)  # noqa: NPY002
    torch.manual_seed(seed)


def files(folder: Path) -> dict[str, bytes]:
    """Return the content of all files in a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


FELL = 25  # of the 30 runs that `write_log` writes


def write_log(path: Path) -> Path:
    """Write 30 runs of a cart, most of which end at the edge; the columns have units of their own."""
    random = np.random.default_rng(0)
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["run", "mm", "speed", "push", "pay", "mm_after", "speed_after", "fell"])
        for run in range(30):
            place, speed = random.uniform(-600, 600), 0.0
            for _ in range(20):
                push = random.uniform(-1, 1)
                following, faster = place + 300 * speed + random.normal(0, 60), 0.5 * speed + push
                fell = int(abs(following) > 1000)
                writer.writerow([run, place, speed, push, 1.0 - abs(place) / 1000, following, faster, fell])
                if fell:
                    break
                place, speed = following, faster
    return path
