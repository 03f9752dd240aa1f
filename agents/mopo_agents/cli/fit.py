"""`mopo fit` and `mopo fit-termination`: learn a model or a termination rule from a dataset."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from tyro.conf import OmitArgPrefixes, Positional

from mopo_agents._utils.hints import terminal_rows_hint
from mopo_agents._utils.outputs import check_output, check_room, refuse_to_replace, save_or_rescue
from mopo_agents.cli.arguments import Arranged, find_modules_here, typed_value
from mopo_env._utils.locks import folder_lock
from mopo_env._utils.options import DEFAULT_PENALTY, Units
from mopo_env.datasets.files import load_transitions, save_transitions
from mopo_env.datasets.folders import bundled_folder, find_folder
from mopo_env.datasets.locate import load_dataset
from mopo_env.errors import ConfigError, FitWarning, MopoError
from mopo_env.models.fit_config import PRESETS, FitConfig
from mopo_env.tasks import ID_PREFIX, TASKS
from mopo_env.terminations.config import TerminationConfig
from mopo_env.transitions import Transitions

Preset = Literal["default", "paper"]

# Bytes for an ensemble or a rule, which have at most a few.
_ROOM = 2**24


def _of_preset(arguments: Sequence[str]) -> dict[str, Any]:
    """Let the preset decide the defaults, so that every option that is given comes before it."""
    return {"config": PRESETS.get(typed_value(arguments, "--preset") or "default", {})}


@Arranged(
    groups={
        "network": ("num_members", "num_elites", "hidden_sizes", "lipschitz", "weight_decay"),
        "optimisation": (
            *("learning_rate", "batch_size", "schedule", "beta", "logvar_bound_coef", "max_epochs", "patience"),
            *("min_improvement", "holdout_size", "scale_targets"),
        ),
    },
    defaults=_of_preset,
)
def fit_dataset(
    dataset: Positional[str],
    /,
    *,
    out: Path | None = None,
    overwrite: bool = False,
    device: str = "cpu",
    preset: Preset = "default",
    config: OmitArgPrefixes[FitConfig] = FitConfig(),  # noqa: B008  # frozen
) -> dict[str, Any]:
    """Fit an ensemble of dynamics models to a dataset.

    Args:
        dataset: A task's name, the folder of a dataset, or a Minari id.
        out: Folder for the dataset and the ensemble. None: the dataset's own folder.
        overwrite: Replace the ensemble that the folder holds, and its dataset if it is another one.
        device: Where to compute, such as cpu or cuda.
        preset: default, or paper for what the paper's code does. Options that you give come before the preset's.
        config: How to fit.
    """
    transitions, folder = load_dataset(dataset), out or _own_folder(dataset)
    from mopo_env.models.card.card import model_card
    from mopo_env.models.ensemble import save_ensemble
    from mopo_env.models.fit import fit_ensemble

    with folder_lock(folder):
        is_there = _holds(folder, transitions, overwrite=overwrite)
        refuse_to_replace(folder, "ensemble", overwrite=overwrite)
        check_room(folder, _ROOM + (0 if is_there else _bytes_of(transitions)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FitWarning)  # the card says the same
            ensemble = fit_ensemble(transitions, config, device=device)

        def save(place: Path) -> None:
            if not is_there or place != folder:
                save_transitions(transitions, place)
            save_ensemble(ensemble, place)

        save_or_rescue(save, folder)
    errors = sorted(ensemble.metadata["holdout_mse"])[: config.num_elites]
    print(
        f"{ensemble.metadata['epochs']} epochs; hold-out mean squared error of the elites, raw units: "
        f"{sum(errors) / len(errors):.4g}"
    )
    problems = model_card(ensemble, transitions).problems
    for problem in problems:
        print(f"! {problem}")
    print(f"The model's report card: mopo model show {folder}")
    hint = "" if transitions.metadata.get("name") in TASKS else terminal_rows_hint(transitions, folder)
    if hint:
        print(hint)
    print(f"Dataset and ensemble are in {folder}. Next: mopo train {_train_arguments(transitions, folder)}")
    return {"folder": folder, "problems": problems, **ensemble.metadata}


def show_model(
    folder: Positional[str],
    /,
    *,
    penalty: str = DEFAULT_PENALTY,
    units: Units | None = None,
    plot: Path | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Show how wrong a fitted ensemble is, column by column.

    It also shows whether the penalty tells where the ensemble is wrong.

    Args:
        folder: A task's name, or the folder of a dataset and its ensemble.
        penalty: The penalty to compare with the true error; `mopo train --help` lists them.
        units: Of the penalty, raw or normalised. None: the penalty's own.
        plot: Also draw a picture into this file, such as card.png.
        overwrite: Replace the picture if the file exists.
    """
    check_output(plot, "--plot", overwrite=overwrite)
    find_modules_here(penalty)
    transitions = load_dataset(folder)
    from mopo_env.datasets.shared import load_shared_ensemble
    from mopo_env.models.card.card import model_card
    from mopo_env.models.card.text import card_text
    from mopo_env.penalties import NEAREST_NEIGHBOUR, ORACLE, make_penalty

    if penalty in (NEAREST_NEIGHBOUR, ORACLE):
        why = "has seen them" if penalty == NEAREST_NEIGHBOUR else "is that error"
        raise ConfigError(f"penalty: is compared with the error on unseen rows, and {penalty} {why}. Choose another.")
    card = model_card(load_shared_ensemble(folder), transitions, penalty=make_penalty(penalty, units=units))
    print(card_text(card))
    if plot is not None:
        from mopo_env.figures.canvas import save_figure
        from mopo_env.figures.model import draw_model_card

        print(f"Picture: {save_figure(draw_model_card(card), plot)}")
    return {"card": card}


def fit_termination_rule(
    dataset: Positional[str],
    /,
    *,
    out: Path | None = None,
    overwrite: bool = False,
    device: str = "cpu",
    config: OmitArgPrefixes[TerminationConfig] = TerminationConfig(),  # noqa: B008  # frozen
) -> dict[str, Any]:
    """Learn which states end an episode.

    The dataset must have terminal states.

    Args:
        dataset: A task's name, the folder of a dataset, or a Minari id.
        out: Folder for the rule. None: the dataset's own folder.
        overwrite: Replace the rule that the folder holds.
        device: Where to compute, such as cpu or cuda.
        config: How to fit.
    """
    transitions, folder = load_dataset(dataset), out or _own_folder(dataset)
    from mopo_env.terminations.fit import fit_termination
    from mopo_env.terminations.learned import save_termination

    with folder_lock(folder):
        refuse_to_replace(folder, "termination", what="termination rule", overwrite=overwrite)
        check_room(folder, _ROOM)
        rule = fit_termination(transitions, config, device=device)
        save_or_rescue(lambda place: save_termination(rule, place), folder)
    test = rule.metadata["test"]
    print(
        f"Held-out episodes, {test['rows']:,} rows, {test['terminal_rows']:,} of them terminal: "
        f"precision {test['precision']:.3f}, recall {test['recall']:.3f}, F1 {test['f1']:.3f}"
    )
    print(
        f"A rule that predicts no terminal row has F1 0 and is right in {1 - test['terminal_rows'] / test['rows']:.1%} "
        "of the rows."
    )
    arguments = _train_arguments(transitions, folder)
    print(f"The termination rule is in {folder}. Next: mopo train {arguments} --termination learned")
    return {"folder": folder, "test": test}


def _holds(folder: Path, transitions: Transitions, *, overwrite: bool) -> bool:
    """Return whether a folder holds these data already. Refuse a folder that holds others, unless they may go."""
    path = folder / "dataset.json"
    if not path.exists():
        return False
    with suppress(MopoError):
        if load_transitions(folder).fingerprint == transitions.fingerprint:
            return True
    if not overwrite:
        raise ConfigError(
            f"--out: {folder} holds another dataset. Choose another folder, or pass --overwrite to replace it."
        )
    return False


def _bytes_of(transitions: Transitions) -> int:
    arrays = (transitions.observations, transitions.next_observations, transitions.actions, transitions.rewards)
    return sum(array.nbytes for array in arrays)


def _own_folder(dataset: str) -> Path:
    """Return the dataset's folder if the user may write into it."""
    folder = find_folder(dataset)
    if folder is None or folder == bundled_folder(dataset.removeprefix(ID_PREFIX)):
        raise ConfigError(f"--out: expected a folder, because {dataset!r} has no folder that you can write to.")
    return folder


def _train_arguments(transitions: Transitions, folder: Path) -> str:
    task = transitions.metadata.get("name")
    return f"{task} --dataset {folder}" if isinstance(task, str) and task in TASKS else str(folder)
