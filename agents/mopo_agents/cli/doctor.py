"""`mopo doctor`: whether this installation works, and what to do where it does not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from mopo_agents.cli.messages import Failed
from mopo_env.datasets.folders import cache_folder, user_folder

_PACKAGES = ("mopo-env", "torch", "gymnasium", "stable-baselines3", "minari", "numpy", "mujoco")
_ROOM = 2**30  # bytes: less than this and a dataset or a run may not fit
_RENDER = "import gymnasium; e = gymnasium.make('HalfCheetah-v5', render_mode='rgb_array'); e.reset(); e.render()"


def diagnose() -> list[dict[str, Any]]:
    """Check the installation, and train for ten seconds.

    It takes about ten seconds. Exit code 1 means that a line is a problem; the line says what to do.
    """
    found = []
    for name, check in _CHECKS.items():
        try:
            lines = list(check())
        except Exception as error:  # whatever it is, the other checks go on
            lines = [(False, f"{type(error).__name__}: {error}")]
        for works, text in lines:
            print(f"{'ok' if works else 'PROBLEM':<9}{name:<11}{text}", flush=True)
            found.append({"check": name, "ok": works, "text": text})
    problems = sum(not line["ok"] for line in found)
    print(f"{problems or 'No'} problem{'s' * (problems != 1)} found.")
    if problems:
        raise Failed(found)
    return found


_Lines = Iterator[tuple[bool, str]]


def _versions() -> _Lines:
    found = {"python": sys.version.split()[0]}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    for name, number in found.items():
        yield name == "mujoco" or number != "not installed", f"{name} {number}"


def _devices() -> _Lines:
    import torch

    if torch.cuda.is_available():
        yield True, f"cpu, and cuda ({torch.cuda.get_device_name()}): --device cuda"
    elif shutil.which("nvidia-smi"):
        yield False, "there is a GPU, but this PyTorch cannot use it. Install one with CUDA: pytorch.org/get-started"
    else:
        yield True, "cpu; no GPU that PyTorch can use"


def _threads() -> _Lines:
    import torch

    count = os.environ.get("OMP_NUM_THREADS", "")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if torch.get_num_threads() > cores:
        yield False, f"{torch.get_num_threads()} threads on {cores} cores are slow: export OMP_NUM_THREADS=1"
    else:
        yield True, f"{cores} cores, OMP_NUM_THREADS={count}; `mopo train` computes with --threads 1 by default"


def _rendering() -> _Lines:
    try:
        version("mujoco")
    except PackageNotFoundError:
        yield True, 'no MuJoCo; to evaluate on the tasks: pip install "mopo-env[mujoco]"'
        return
    ended = subprocess.run(  # noqa: S603  # in a process of its own, because a missing driver can end it
        [sys.executable, "-W", "ignore", "-c", _RENDER], capture_output=True, text=True, timeout=60, check=False
    )
    backend = f"MUJOCO_GL={os.environ.get('MUJOCO_GL', '(not set)')}"
    if ended.returncode == 0:
        yield True, f"MuJoCo draws pictures, {backend}"
    else:
        reason = (ended.stderr.strip().splitlines() or [f"exit code {ended.returncode}"])[-1]
        yield (
            False,
            f"MuJoCo cannot draw, {backend}: {reason} Without a screen: export MUJOCO_GL=egl, or osmesa. "
            "Training and evaluation draw nothing and still work.",
        )


def _folders() -> _Lines:
    for what, folder in {"datasets": user_folder(), "cache": cache_folder(), "runs": Path("runs")}.items():
        place = next(parent for parent in (folder.resolve(), *folder.resolve().parents) if parent.exists())
        try:
            with tempfile.NamedTemporaryFile(dir=place):
                free = shutil.disk_usage(place).free
        except OSError as error:
            remedy = {"datasets": "set MOPO_DATASETS_PATH", "cache": "set MOPO_CACHE_PATH"}.get(what, "pass --out")
            yield False, f"{what}: {place} cannot be written ({error.strerror}): {remedy} to another folder"
            continue
        yield free >= _ROOM, f"{what}: {folder}, {free / 1e9:,.1f} GB free{'' if free >= _ROOM else ': make room'}"


def _self_test() -> _Lines:
    """Fit an ensemble to a few rows of the bundled data, and train an agent in it for an epoch."""
    import warnings

    from mopo_agents.agents import make_agent
    from mopo_env.datasets.files import save_transitions
    from mopo_env.datasets.locate import load_dataset
    from mopo_env.envs.make import make_penalized_model
    from mopo_env.errors import FitWarning
    from mopo_env.models.ensemble import save_ensemble
    from mopo_env.models.fit import fit_ensemble
    from mopo_env.models.fit_config import FitConfig
    from mopo_env.transitions import Transitions

    started = time.monotonic()
    episodes = load_dataset("halfcheetah-mixed").episodes()
    few = Transitions.from_episodes([next(iter(episodes))])
    config = FitConfig(num_members=2, num_elites=1, hidden_sizes=(32, 32), max_epochs=2)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", FitWarning)
        save_transitions(few, folder)
        save_ensemble(fit_ensemble(few, config, progress=False), folder)
        model = make_penalized_model(folder)
        agent = make_agent("SAC", model, horizon=5, rollout_batch_size=20, gradient_steps=20)
        agent.learn(100, log_interval=None)  # type: ignore[arg-type]
    yield (
        True,
        f"fitted a model to {len(few):,} rows and trained SAC in it for one epoch: {time.monotonic() - started:.1f} s",
    )


_CHECKS: dict[str, Callable[[], _Lines]] = {
    "versions": _versions,
    "device": _devices,
    "threads": _threads,
    "rendering": _rendering,
    "folders": _folders,
    "self-test": _self_test,
}
