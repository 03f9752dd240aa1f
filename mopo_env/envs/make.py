"""Build environments from names and paths. `gymnasium.make` calls these functions."""

from collections.abc import Mapping
from inspect import signature
from pathlib import Path
from typing import Any

from gymnasium.vector import AutoresetMode

from mopo_env._utils.devices import check_device
from mopo_env._utils.options import (
    DEFAULT_MARGIN,
    DEFAULT_ON_EXIT,
    DEFAULT_PENALTY,
    DEFAULT_QUANTILE,
    MemberPer,
    OnExit,
    PenaltyCoef,
    Precision,
)
from mopo_env.datasets.locate import resolve_task
from mopo_env.datasets.shared import load_shared_dataset, load_shared_ensemble, load_shared_termination
from mopo_env.envs.env import PenalizedModelEnv
from mopo_env.envs.penalized_model import PenalizedModel
from mopo_env.envs.vector_env import PenalizedModelVectorEnv
from mopo_env.errors import ConfigError, UnknownNameError
from mopo_env.models.provenance import check_provenance
from mopo_env.penalties import NEAREST_NEIGHBOUR, ORACLE, Penalty, get_penalty
from mopo_env.penalties.nearest import make_nearest_neighbour_penalty
from mopo_env.penalties.oracle import make_oracle_penalty
from mopo_env.real.drawing import make_renderer
from mopo_env.tasks import Task
from mopo_env.terminations import Termination

Name = str | Path


def make_env(
    task: Name | Task | None = None, *, horizon: int | None = None, render_mode: str | None = None, **options: Any
) -> PenalizedModelEnv:
    """Build the environment of a task or of your own data; `gymnasium.make` calls this.

    Args:
        task: As in `make_penalized_model`.
        horizon: h; default: the task's, 5 for own data.
        render_mode: ``"rgb_array"``: MuJoCo draws the model's states, if they say how the robot stands. None: nothing
            is drawn.
        **options: As in `make_penalized_model`.

    Raises:
        UnknownNameError: If there is no such option; the message lists those there are.
        ConfigError: If there is no such render mode, or the states of the task cannot be drawn.
        MissingExtraError: If MuJoCo is needed to draw, and not installed.
    """
    _check_options(options)
    found = _find_task(task, **options)
    renderer = make_renderer(found, render_mode)
    model = make_penalized_model(task, **options)
    return PenalizedModelEnv(model, horizon=found.horizon if horizon is None else horizon, renderer=renderer)


def make_vector_env(
    task: Name | Task | None = None,
    *,
    num_envs: int = 1,
    horizon: int | None = None,
    autoreset_mode: str | AutoresetMode = AutoresetMode.SAME_STEP,
    render_mode: str | None = None,
    **options: Any,
) -> PenalizedModelVectorEnv:
    """Build what `make_env` builds as `num_envs` parallel rollouts; `gymnasium.make_vec` calls this.

    `autoreset_mode` is that of `PenalizedModelVectorEnv`.
    """
    _check_options(options, "num_envs", "autoreset_mode")
    horizon = _find_task(task, **options).horizon if horizon is None else horizon
    penalized_model = make_penalized_model(task, **options)
    return PenalizedModelVectorEnv(
        penalized_model, num_envs=num_envs, horizon=horizon, autoreset_mode=autoreset_mode, render_mode=render_mode
    )


def make_penalized_model(
    task: Name | Task | None = None,
    *,
    dataset: str | Path | None = None,
    ensemble: str | Path | None = None,
    allow_other_data: bool = False,
    penalty: str | Mapping[str, Any] | Penalty = DEFAULT_PENALTY,
    penalty_coef: PenaltyCoef | None = None,
    mean_penalty: float | None = None,
    termination: str | Termination | None = None,
    member_per: MemberPer = "step",
    deterministic: bool = False,
    envelope_margin: float | None = DEFAULT_MARGIN,
    envelope_quantile: float | None = DEFAULT_QUANTILE,
    exit_reward: float | None = None,
    on_exit: OnExit = DEFAULT_ON_EXIT,
    precision: Precision = "float32",
    device: str = "cpu",
) -> PenalizedModel:
    """Build the batched core of a task or of your own data.

    Args:
        task: A task's name or id, or your own data as in `resolve_task`. It gives the defaults of the other arguments.
            Default: `dataset`, as own data.
        dataset: A folder, a Minari id or another task's name; default: the task's own data.
        ensemble: The folder of an ensemble; default: the dataset's.
        allow_other_data: Whether the ensemble may have been fitted to other rows or rewards than the dataset's.
        penalty: A name in `mopo_env.penalties.PENALTIES`, ``"nearest-neighbour"``, ``"oracle"``, a mapping of a name
            and options, or a callable; see `resolve_penalty`.
        penalty_coef: λ, or ``"conformal"`` as in `PenalizedModel`; default: the task's, 1 for own data.
        mean_penalty: The mean of λ·u on the data, instead of `penalty_coef`.
        termination: A name in `mopo_env.terminations.TERMINATIONS`, a callable, or ``"learned"`` for the fitted rule in
            the folder of the ensemble or the dataset. Default: the task's; for own data the learned rule, or
            ``"never"`` if there is none.
        member_per: As in `PenalizedModel`, like the next five.
        deterministic: Whether to step to means instead of drawing.
        envelope_margin: How far a rollout may leave the data's range; None: any distance.
        envelope_quantile: Which quantile of u on the data a rollout may not exceed; None: any u.
        exit_reward: The price of leaving the envelope.
        on_exit: Whether leaving it terminates the episode, or truncates it, so that agents bootstrap.
        precision: Precision between the model's hidden layers; ``"bfloat16"`` is faster, see `GaussianEnsemble`.
        device: Where the model computes, such as ``"cpu"`` or ``"cuda"``.

    Raises:
        UnknownNameError: If no task, penalty or rule has the given name.
        DatasetError: If the data are missing or wrong; the message says how to get them.
        StoreError: If there is no ensemble or no learned rule, or a file is damaged.
        ConfigError: If the device cannot be used, two datasets are named, or the task has no oracle.
        MissingExtraError: If the oracle needs MuJoCo and it is not installed.
        SpaceMismatchError: If the spaces of the ensemble, the learned rule or the oracle differ from the dataset's, or
            the ensemble was fitted to other data.
    """
    found = _find_task(task, dataset=dataset, ensemble=ensemble)
    dataset = dataset_of(found, None if task is None else dataset)
    check_device(device)
    penalty = resolve_penalty(penalty, found, dataset, device=device)
    transitions = load_shared_dataset(dataset)
    model = load_shared_ensemble(dataset if ensemble is None else ensemble, device=device).at_precision(precision)
    check_provenance(model.metadata, transitions, "ensemble", allow_other_data=allow_other_data)
    termination = found.termination if termination is None else termination
    if termination == "learned":
        termination = load_shared_termination(ensemble, dataset, device=device)
        check_provenance(termination.metadata, transitions, "learned termination rule", allow_other_data=True)
    return PenalizedModel(
        model,
        transitions,
        penalty=penalty,
        penalty_coef=found.penalty_coef if penalty_coef is None and mean_penalty is None else penalty_coef,
        mean_penalty=mean_penalty,
        termination=termination,
        member_per=member_per,
        deterministic=deterministic,
        envelope_margin=envelope_margin,
        envelope_quantile=envelope_quantile,
        exit_reward=exit_reward,
        on_exit=on_exit,
    )


def dataset_of(task: Task, dataset: Name | None = None) -> Name:
    """Return the name or the folder of a task's data: `dataset`, or the task's own if it is None.

    Raises:
        ConfigError: If `dataset` is given for a task that is itself a dataset.
    """
    if dataset is None:
        return task.name
    if task.recipe is None:
        raise ConfigError(f"dataset: found {str(dataset)!r}, but {task.name!r} is a dataset already; name only one.")
    return dataset


def resolve_penalty(
    penalty: str | Mapping[str, Any] | Penalty, task: Task, dataset: Name, *, device: str = "cpu"
) -> Penalty:
    """Look a penalty up as `mopo_env.penalties.get_penalty` does, or build one that needs the task or its data.

    This needs no ensemble, so a wrong penalty is refused before an ensemble is fitted.

    Args:
        penalty: A name, a mapping of its name and options, or a callable. The options of ``"oracle"`` are those of
            `mopo_env.penalties.oracle.make_oracle_penalty`, those of ``"nearest-neighbour"`` are those of
            `mopo_env.penalties.nearest.NearestNeighbourPenalty`.
        task: The task whose simulator the oracle uses.
        dataset: A folder, a Minari id or a task's name. Only these two read it.
        device: Where the model computes.

    Raises:
        UnknownNameError: If no penalty has this name.
        ConfigError: If an option is wrong, or the task has no oracle.
        DatasetError: If these data are missing or wrong, or their widths differ from those of the oracle's environment.
        MissingExtraError: If the oracle needs MuJoCo and it is not installed.
    """
    options: Mapping[str, Any] = penalty if isinstance(penalty, Mapping) else {"name": penalty}
    others = {name: value for name, value in options.items() if name != "name"}
    if options.get("name") == ORACLE:
        return make_oracle_penalty(task, load_shared_dataset(dataset), **others)
    if options.get("name") == NEAREST_NEIGHBOUR:
        return make_nearest_neighbour_penalty(load_shared_dataset(dataset), **{"device": device, **others})
    return get_penalty(penalty)


def _check_options(options: dict[str, Any], *of_vector_env: str) -> None:
    """Refuse what is no option."""
    if "max_episode_steps" in options:
        raise ConfigError("max_episode_steps: set the horizon instead: horizon=…")
    known = [name for name in signature(make_penalized_model).parameters if name != "task"]
    for name in options.keys() - known:
        raise UnknownNameError("option", name, ["horizon", *of_vector_env, *known])


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
