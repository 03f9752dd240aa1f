"""Nothing in an epoch waits for a GPU: tested on the CPU, by counting what Python takes out of tensors."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from helpers.host_reads import host_reads
from helpers.models import generator, small_ensemble

from mopo_agents.agents import make_agent
from mopo_agents.sb3.fast_sac.update import SACUpdate
from mopo_env._utils.devices import certainly_any, check_device, new_generator, perhaps_any
from mopo_env.envs.penalized_model import PenalizedModel
from mopo_env.envs.rollouts import Rollouts
from mopo_env.errors import ConfigError
from mopo_env.penalties import PENALTIES
from mopo_env.terminations import TERMINATIONS
from mopo_env.toys import LinearGaussianSystem

B, H = 300, 3


def penalized_model(**options: Any) -> PenalizedModel:
    transitions = LinearGaussianSystem().transitions(seed=0)
    return PenalizedModel(small_ensemble(), transitions, **options)


def ending(observations: Any, actions: Any, next_observations: Any) -> torch.Tensor:
    return next_observations[:, 0] > 0.5


OPTIONS = [
    *({"penalty": name} for name in PENALTIES),
    {"member_per": "rollout"},
    {"deterministic": True},
    {"envelope_margin": 0.0},
    {"envelope_quantile": 0.5, "on_exit": "truncate"},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_steps_of_the_model_wait_for_nothing(options: dict[str, Any]) -> None:
    """With every penalty and option, and through restarts."""
    rollouts = Rollouts(penalized_model(termination=ending, **options), num_rollouts=B, horizon=H)
    rollouts.reset(generator())
    with host_reads() as reads:
        for _ in range(2 * H):
            step = rollouts.advance(torch.zeros(B, 1))
    assert reads == []
    assert step.dones.any()


@pytest.mark.parametrize("name", TERMINATIONS)
def test_the_termination_rules_wait_for_nothing(name: str) -> None:
    with host_reads() as reads:
        TERMINATIONS[name](torch.zeros(5, 4), torch.zeros(5, 1), torch.randn(5, 4))
    assert reads == []


def test_buffer_and_updates_wait_for_nothing() -> None:
    """A thousand updates follow each other without a pause; the losses are read when all are done."""
    agent: Any = make_agent("SAC", penalized_model(), horizon=H, rollout_batch_size=B, gradient_steps=1)
    agent.learn(B * H, log_interval=None)
    update = SACUpdate(agent)
    with torch.no_grad(), host_reads() as reads:
        for _ in range(3):
            update(agent.replay_buffer.sample(64), move_target=True)
        ones, flags = torch.ones(B, 2), torch.zeros(B, dtype=torch.bool)
        agent.replay_buffer.add_rows(ones, torch.ones(B, 1), ones, torch.ones(B), flags, flags)
    assert reads == []


def test_the_counter_of_reads_counts() -> None:
    """Else the tests above would say nothing."""
    flags = torch.tensor([True, False])
    for read in (
        lambda: bool(flags.any()),
        lambda: float(flags.sum()),
        lambda: flags.tolist(),
        lambda: flags.numpy(),
        lambda: flags.nonzero(),
        lambda: torch.ones(2)[flags],
        lambda: flags.cpu(),
        lambda: "yes" if flags[0] else "no",
    ):
        with host_reads() as reads:
            read()
        assert reads


def test_asking_every_time_changes_no_number() -> None:
    """On a device that is not asked, restarts are drawn in steps in which nothing ends, and thrown away."""
    rollouts = Rollouts(penalized_model(), num_rollouts=B, horizon=H)
    start = rollouts.reset(generator()).copy()
    with host_reads():
        step = rollouts.advance(torch.zeros(B, 1))
    torch.testing.assert_close(step.observations, step.final_observations)
    assert (step.lengths == 1).all()
    assert not torch.equal(step.observations, torch.from_numpy(start))


def test_a_cpu_is_asked_and_other_devices_are_not() -> None:
    assert not perhaps_any(torch.tensor([False, False]))
    assert perhaps_any(torch.tensor([False, True]))
    assert certainly_any(torch.tensor([False, True]))
    on_another = torch.empty(2, dtype=torch.bool, device="meta")
    assert perhaps_any(on_another)
    assert not certainly_any(on_another)


@pytest.mark.parametrize("wrong", ["meta", "gpu", "cuda:99", 3.5, None, ""])
def test_a_device_that_is_not_there_is_named(wrong: Any) -> None:
    with pytest.raises(ConfigError, match="device"):
        check_device(wrong)


def test_a_generator_is_derived_from_the_environments_own() -> None:
    """Equal seeds, equal streams; and the parent moves on, so that a second generator differs."""
    parents = [np.random.default_rng(seed) for seed in (0, 0, 1)]
    first, same, other = (new_generator(parent, torch.device("cpu")).initial_seed() for parent in parents)
    assert first == same != other
    assert new_generator(parents[0], torch.device("cpu")).initial_seed() != first


def test_a_hidden_gpu_is_refused_by_name_and_stops_nothing_else() -> None:
    """A scheduler that lends no GPU sets this variable, and then importing and asking for a GPU happen at once."""
    script = (
        "import mopo_agents.agents, mopo_env\n"
        "from mopo_env._utils.devices import check_device\n"
        "from mopo_env.errors import ConfigError\n"
        "check_device('cpu')\n"
        "try: check_device('cuda')\n"
        "except ConfigError as error: print(error)\n"
    )
    hidden = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([sys.executable, "-c", script], env=hidden, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("device: ")
