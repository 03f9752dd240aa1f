"""`mopo evaluate`: run a trained policy in the real environment."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tyro.conf import Positional

from mopo_env.datasets.locate import resolve_task
from mopo_env.errors import ConfigError

__all__ = ["evaluate_policy"]


def evaluate_policy(
    folder: Positional[Path],
    /,
    *,
    checkpoint: str = "last",
    task: str | None = None,
    real_env: str | None = None,
    episodes: int = 10,
    seed: int = 0,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Evaluate a trained policy in the real environment, with deterministic actions.

    Args:
        folder: A training run, finished or not, or one of its checkpoints.
        checkpoint: last, the name of a checkpoint such as epoch-00050, best-score for the saved policy that the model
            alone thinks best of, or best for the one with the highest return in evaluations.csv. The highest of many
            noisy returns is too high: evaluate it with another seed.
        task: Evaluate on this task. None: the task on which the policy was trained.
        real_env: Evaluate in this Gymnasium environment instead of the task's own, such as Hopper-v4 for a policy that
            was trained on D4RL's data.
        episodes: Number of episodes.
        seed: Seed of the start states. The last seed in evaluations.csv repeats the run's last evaluation.
        overwrite: Replace an earlier evaluation with the same seed and other returns.
    """
    from mopo_agents.evaluation import evaluate
    from mopo_agents.policies import load_policy
    from mopo_agents.runs.policy_files import find_policy
    from mopo_env._utils.store import json_text, read_artifact, write_file

    run, folder = folder, find_policy(folder, checkpoint)
    policy, saved = load_policy(folder), read_artifact(folder, "policy")[1]
    trained_on = task or saved.get("task")
    if trained_on is None and real_env is None:
        raise ConfigError(
            f"--real-env: expected an environment, because the policy in {folder} was trained on data without one. "
            "Pass a Gymnasium id, or module:id for your own environment."
        )
    found = resolve_task(trained_on, real_env=real_env)
    evaluation = evaluate(policy, found, episodes=episodes, seed=seed)
    score = "" if evaluation.normalised is None else f", normalised {evaluation.normalised:.1f}"
    where = found.id if real_env is None or found.id == real_env else f"{found.id} in {real_env}"
    if folder != run:
        print(f"The policy is that of epoch {saved.get('epoch')}, in {folder}.")
    print(
        f"{where}, {episodes} episodes: return {evaluation.mean:.1f} ± {evaluation.std:.1f} (standard deviation){score}"
    )
    names = [found.label] if real_env is None or found.label == real_env else [found.label, real_env]
    label = re.sub(r"[^-.\w]", "-", "-".join(names))
    path = folder / f"evaluation-{label}-seed{seed}.json"
    content = {
        "task": found.name,
        "real_env": found.real_env_id,
        "returns": evaluation.returns,
        "lengths": evaluation.lengths,
        "seed": seed,
    }
    body = json_text(content)
    if path.exists() and path.read_bytes() != body and not overwrite:
        raise ConfigError(
            f"{path} holds an evaluation with other returns, and is kept. Choose another --seed, or pass --overwrite "
            "to replace it."
        )
    write_file(path, body)
    print(f"The returns of all episodes are in {path}.")
    return {"file": path, "return_mean": evaluation.mean, "return_std": evaluation.std, **content}
