"""`mopo evaluate`: run a trained policy in the real environment."""

from __future__ import annotations

import re
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tyro.conf import Positional

from mopo_agents._utils.outputs import check_output
from mopo_agents.cli.arguments import find_modules_here
from mopo_agents.cli.messages import option_of
from mopo_env.datasets.locate import resolve_task
from mopo_env.errors import ConfigError, MopoError
from mopo_env.tasks import Task

if TYPE_CHECKING:
    from mopo_env.envs.penalized_model import PenalizedModel


def evaluate_policy(
    folder: Positional[Path],
    /,
    *,
    checkpoint: str = "last",
    task: str | None = None,
    real_env: str | None = None,
    episodes: int = 10,
    seed: int = 0,
    offline: bool = False,
    ensemble: str | None = None,
    video: Path | None = None,
    video_seconds: float = 10.0,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Evaluate a trained policy in the real environment.

    Its actions are deterministic.

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
        offline: Judge the policy of a run by its data and model alone. It takes a minute or two.
        ensemble: For --offline: where the run's ensemble is now. None: where it was.
        video: Also draw the first episode into this file, .mp4 or .gif. If the states of the run's model can be drawn,
            they stand on the right: from the same state, with the same actions.
        video_seconds: The longest length of the video.
        overwrite: Replace an earlier evaluation with the same seed and other returns, and the file of --video.
    """
    if offline:
        of_real_env = {"task": task, "real_env": real_env, "video": video}
        return _evaluate_offline(folder, checkpoint, ensemble, seed=seed, of_real_env=of_real_env)
    if ensemble is not None:
        raise ConfigError("ensemble: only offline needs it. Leave it out, or judge the policy offline.")
    find_modules_here(real_env)
    from mopo_agents.evaluation import evaluate
    from mopo_agents.policies import load_policy
    from mopo_agents.runs.policy_files import find_policy
    from mopo_env._utils.json_files import json_text
    from mopo_env._utils.store import read_artifact, write_file

    check_output(video, "--video", overwrite=overwrite)
    if video is not None:
        from mopo_agents.videos import check_video

        check_video(video)
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
    if video is not None:
        from mopo_agents.videos import video_frames, write_video

        model = _model_of(folder, found)
        write_video(video_frames(policy, found, model, seconds=video_seconds, seed=seed), video)
        print(f"The video is {video}" + (": real on the left, the model on the right." if model else "."))
    return {"file": path, "return_mean": evaluation.mean, "return_std": evaluation.std, **content}


def _evaluate_offline(
    run: Path, checkpoint: str, ensemble: str | None, *, seed: int, of_real_env: dict[str, Any]
) -> dict[str, Any]:
    """Say what data and model say of a policy, without a step of the real environment."""
    if given := [name for name, value in of_real_env.items() if value is not None]:
        raise ConfigError(f"offline: takes no real environment. Leave out {', '.join(map(option_of, given))}.")
    from mopo_agents.trust.offline import evaluate_offline, open_policy, report_text

    report = evaluate_offline(open_policy(run, checkpoint=checkpoint, ensemble=ensemble), seed=seed)
    print(f"The policy of epoch {report.epoch}, by data and model alone:\n\n{report_text(report)}")
    return asdict(report)


def _model_of(policy: Path, task: Task) -> PenalizedModel | None:
    """Return the model of the run to which a policy belongs; None if there is none, or it cannot be drawn."""
    from mopo_agents.agents import AGENTS
    from mopo_agents.runs.folder import recorded_config
    from mopo_agents.runs.resolve import resolve
    from mopo_agents.runs.train import build_penalized_model
    from mopo_env.real.robots import ROBOTS

    run = next((path for path in (policy, policy.parent.parent) if (path / "config.json").is_file()), None)
    if run is None or task.real_env_id not in ROBOTS:
        return None
    try:
        config, record = recorded_config(run)
        if record["lambda"] is None:
            return None
        # The model does not depend on the agent, whose class may have no name here.
        agent = config.agent if config.agent in AGENTS else "SAC"
        return build_penalized_model(resolve(replace(config, agent=agent, device="cpu")), progress=False)
    except MopoError as error:
        print(f"The video is without the model: {error}", file=sys.stderr)
        return None
