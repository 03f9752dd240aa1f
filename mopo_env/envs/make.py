"""Build environments from names and paths: what `gymnasium.make` calls."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from mopo_env._utils.devices import check_device
from mopo_env._utils.options import MemberPer, Precision
from mopo_env.datasets.folders import find_artifact, find_folder
from mopo_env.datasets.locate import load_dataset, resolve_task
from mopo_env.envs.env import PenalizedModelEnv
from mopo_env.envs.penalized_model import PenalizedModel
from mopo_env.envs.vector_env import PenalizedModelVectorEnv
from mopo_env.errors import ConfigError, SpaceMismatchError, StoreError
from mopo_env.models.ensemble import GaussianEnsemble, load_ensemble
from mopo_env.penalties import ORACLE, Penalty, get_penalty
from mopo_env.penalties.oracle import make_oracle_penalty
from mopo_env.tasks import Task
from mopo_env.terminations import Termination
from mopo_env.terminations.learned import LearnedTermination, load_termination
from mopo_env.transitions import Transitions

__all__ = [
    "dataset_of",
    "load_shared_dataset",
    "load_shared_ensemble",
    "load_shared_termination",
    "make_env",
    "make_penalized_model",
    "make_vector_env",
    "resolve_penalty",
]

Name = str | Path


def make_env(
    task: Name | Task | None = None, *, horizon: int | None = None, render_mode: str | None = None, **options: Any
) -> PenalizedModelEnv:
    """Build the environment of a task or of data of one's own; `gymnasium.make` arrives here.

    Args:
        task: As in `make_penalized_model`.
        horizon: h; default: the task's, 5 for own data.
        render_mode: Accepted because Gymnasium passes it.
        **options: As in `make_penalized_model`.
    """
    found = _find_task(task, **options)
    return PenalizedModelEnv(
        make_penalized_model(task, **options),
        horizon=found.horizon if horizon is None else horizon,
        render_mode=render_mode,
    )


def make_vector_env(
    task: Name | Task | None = None,
    *,
    num_envs: int = 1,
    horizon: int | None = None,
    render_mode: str | None = None,
    **options: Any,
) -> PenalizedModelVectorEnv:
    """Build the vector environment of a task, as `make_env` does, with `num_envs` rollouts side by side.

    `gymnasium.make_vec` arrives here.
    """
    found = _find_task(task, **options)
    return PenalizedModelVectorEnv(
        make_penalized_model(task, **options),
        num_envs=num_envs,
        horizon=found.horizon if horizon is None else horizon,
        render_mode=render_mode,
    )


def make_penalized_model(
    task: Name | Task | None = None,
    *,
    dataset: str | Path | None = None,
    ensemble: str | Path | None = None,
    penalty: str | Mapping[str, Any] | Penalty = "learned-variance",
    penalty_coef: float | None = None,
    termination: str | Termination | None = None,
    member_per: MemberPer = "step",
    deterministic: bool = False,
    halt_threshold: float | None = None,
    halt_reward: float | None = None,
    precision: Precision = "float32",
    device: str = "cpu",
) -> PenalizedModel:
    """Build the batched core of a task, or of data of one's own.

    Args:
        task: A task's name or id, or data of one's own as in `resolve_task`; it decides what the other arguments leave
            open. Default: `dataset`, as data of one's own.
        dataset: A folder, a Minari id or another task's name; default: the task's own data.
        ensemble: A folder that holds an ensemble; default: the dataset's.
        penalty: A name in `mopo_env.penalties.PENALTIES` or ``"oracle"``, a mapping of its name and options, or a
            callable; see `resolve_penalty`.
        penalty_coef: λ; default: the task's, 1 for own data.
        termination: A name in `mopo_env.terminations.TERMINATIONS`, a callable, or ``"learned"`` for the rule that was
            fitted and lies beside the ensemble or the dataset; default: the task's. For own data that is the learned
            rule if there is one, and else ``"never"``.
        member_per: Whether every ``"step"`` or every ``"rollout"`` picks the elite it is drawn from.
        deterministic: Whether to step to means instead of drawing.
        halt_threshold: The u(s, a) above which an episode halts; None: never. See `PenalizedModel`.
        halt_reward: What halting pays; default: as in `PenalizedModel`.
        precision: Of the numbers between the model's hidden layers; ``"bfloat16"`` is faster, see `GaussianEnsemble`.
        device: Where the model computes, such as ``"cpu"`` or ``"cuda"``.

    Raises:
        UnknownNameError: If there is no task, penalty or rule of that name.
        DatasetError: If the data are missing or wrong; the message says how to get them.
        StoreError: If there is no ensemble or no learned rule, or a file is damaged.
        ConfigError: If the device cannot be used, two datasets are named, or there is no oracle for the task.
        MissingExtraError: If the oracle is asked for and MuJoCo is not installed.
        SpaceMismatchError: If the ensemble or the learned rule was fitted to data of other spaces, or the oracle's
            environment has others.
    """
    found = _find_task(task, dataset=dataset, ensemble=ensemble)
    dataset = dataset_of(found, None if task is None else dataset)
    check_device(device)
    penalty = resolve_penalty(penalty, found, dataset)
    transitions = load_shared_dataset(dataset)
    model = load_shared_ensemble(dataset if ensemble is None else ensemble, device=device).at_precision(precision)
    _check_same_spaces(model.metadata, transitions, "ensemble")
    termination = found.termination if termination is None else termination
    if termination == "learned":
        termination = load_shared_termination(ensemble, dataset, device=device)
        _check_same_spaces(termination.metadata, transitions, "learned termination rule")
    return PenalizedModel(
        model,
        transitions,
        penalty=penalty,
        penalty_coef=found.penalty_coef if penalty_coef is None else penalty_coef,
        termination=termination,
        member_per=member_per,
        deterministic=deterministic,
        halt_threshold=halt_threshold,
        halt_reward=halt_reward,
    )


def dataset_of(task: Task, dataset: Name | None = None) -> Name:
    """Return where the data of a task are, a name or a folder.

    Args:
        task: A task, or data of one's own.
        dataset: Other data than the task's.

    Raises:
        ConfigError: If other data are named than those that the task is.
    """
    if dataset is None:
        return task.name
    if task.recipe is None:
        raise ConfigError(f"dataset: found {str(dataset)!r}, but {task.name!r} is a dataset already; name only one.")
    return dataset


def load_shared_ensemble(name: str | Path, *, device: str = "cpu") -> GaussianEnsemble:
    """Load the ensemble of a task, or the one in a folder.

    Raises:
        StoreError: If there is none, or its files are damaged.
    """
    folder = find_folder(name) or Path(name).expanduser()
    if not (folder / "ensemble.json").is_file():
        raise StoreError(
            f"no ensemble for {str(name)!r}: {folder / 'ensemble.json'} does not exist. "
            f"Fit one with `mopo fit {name} --out FOLDER` and pass dataset=FOLDER."
        )
    return _load_ensemble(folder.resolve(), (folder / "ensemble.json").stat().st_mtime_ns, device)


def load_shared_termination(*names: Name | None, device: str = "cpu") -> LearnedTermination:
    """Load the learned rule that the first of several folders holds.

    Args:
        *names: Task names or folders; None is passed over.
        device: Where the rule computes.

    Raises:
        StoreError: If none of them holds one, or its files are damaged.
    """
    folder = find_artifact("termination", *names)
    if folder is None:
        where = " nor ".join(repr(str(name)) for name in names if name is not None)
        raise StoreError(
            f"no learned termination rule in {where}: no termination.json was found there. "
            "Fit one with `mopo fit-termination`, or name another rule."
        )
    return _load_termination(folder.resolve(), (folder / "termination.json").stat().st_mtime_ns, device)


def resolve_penalty(penalty: str | Mapping[str, Any] | Penalty, task: Task, dataset: Name) -> Penalty:
    """Look a penalty up as `mopo_env.penalties.get_penalty` does, or build the oracle, which is the task's.

    No ensemble is needed, so that a penalty which a task cannot have is refused before one is fitted.

    Args:
        penalty: A name, a mapping of its name and options, or a callable. The options of ``"oracle"`` are those of
            `mopo_env.penalties.oracle.make_oracle_penalty`.
        task: Whose simulator the oracle asks.
        dataset: A folder, a Minari id or a task's name; only the oracle reads it.

    Raises:
        UnknownNameError: If no penalty has this name.
        ConfigError: If an option is wrong, or there is no oracle for the task.
        DatasetError: If the data are missing or wrong, or of other widths than the oracle's environment.
        MissingExtraError: If the oracle is asked for and MuJoCo is not installed.
    """
    options: Mapping[str, Any] = penalty if isinstance(penalty, Mapping) else {"name": penalty}
    if options.get("name") != ORACLE:
        return get_penalty(penalty)
    return make_oracle_penalty(
        task, load_shared_dataset(dataset), **{name: value for name, value in options.items() if name != "name"}
    )


def load_shared_dataset(name: Name) -> Transitions:
    """Load a dataset as `load_dataset` does, and share it within the process if it is kept in our own format.

    Raises:
        DatasetError: If there is no such dataset; the message says how to get one.
        StoreError: If its files are damaged.
    """
    folder = find_folder(name)
    if folder is None:
        return load_dataset(name)
    return _load_dataset(folder.resolve(), (folder / "dataset.json").stat().st_mtime_ns)


def _find_task(
    task: Name | Task | None, *, dataset: Name | None = None, ensemble: Name | None = None, **others: Any
) -> Task:
    for name, value in (("dataset", dataset), ("ensemble", ensemble)):
        if not isinstance(value, str | Path | None):
            raise ConfigError(
                f"{name}: expected a name or a path, found a {type(value).__name__}. To use objects, build "
                "PenalizedModelEnv(PenalizedModel(model, transitions, …), horizon=…) directly."
            )
    return resolve_task(dataset if task is None else task, ensemble=ensemble)


def _check_same_spaces(metadata: dict[str, Any], transitions: Transitions, fitted: str) -> None:
    for name in ("observation_space", "action_space"):
        found, expected = str(getattr(transitions, name)), metadata.get(name)
        if expected is not None and found != expected:
            raise SpaceMismatchError(
                f"{name}: the dataset's is {found}, but the {fitted} was fitted to data of {expected}. "
                f"Fit it again on this dataset, or pass the dataset that the {fitted} was fitted on."
            )


# All are read-only once loaded, so every environment of a process can share them; the time of the last change is part
# of the key, so that a file written anew is read anew.
@lru_cache(maxsize=4)
def _load_ensemble(folder: Path, changed: int, device: str) -> GaussianEnsemble:
    return load_ensemble(folder, device=device)


@lru_cache(maxsize=4)
def _load_termination(folder: Path, changed: int, device: str) -> LearnedTermination:
    return load_termination(folder, device=device)


@lru_cache(maxsize=4)
def _load_dataset(folder: Path, changed: int) -> Transitions:
    return load_dataset(folder)
