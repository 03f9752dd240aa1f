"""Search options with Optuna. A trial is a run like any other: resumed, and never done twice."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mopo_agents.runs.config import ROLES
from mopo_agents.runs.folder import is_finished
from mopo_agents.runs.identity import digest
from mopo_agents.sweeps.backends import Backend
from mopo_agents.sweeps.execute import run_jobs
from mopo_agents.sweeps.plan import Job, config_of, make_job, read_toml
from mopo_agents.sweeps.status import status_of
from mopo_env._utils.locks import folder_lock
from mopo_env._utils.options import check_choice, check_integer
from mopo_env.errors import ConfigError, UnknownNameError, require_extra

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial, TrialState

Objective = Literal["score", "return"]
_PARTS = ("out", "objective", "trials", "seed", "batch", "options", "search")
_TUNABLE = ("method", "size")


@dataclass(frozen=True, kw_only=True)
class Search:
    """What is searched.

    Attributes:
        out: Where the runs go, and ``study.db``, the study of Optuna.
        objective: score for the best score by the model alone; return for the mean of the last ten real returns.
        trials: Number of trials in all.
        batch: Trials that are chosen before any of them is done, so that they can be done at once.
        options: What all runs share.
        space: What is searched, as Optuna's distributions.
    """

    path: Path
    out: Path
    objective: Objective
    trials: int
    seed: int
    batch: int
    options: Mapping[str, Any]
    space: Mapping[str, BaseDistribution]

    def job(self, values: Mapping[str, Any]) -> Job:
        """Return the run of a trial; ``agent_options.learning_rate`` is an option of the agent."""
        options = {**self.options, "agent_options": dict(self.options.get("agent_options", {}))}
        for name, value in values.items():
            first, _, inner = name.partition(".")
            (options["agent_options"] if inner else options)[inner or first] = value
        return make_job(config_of(self.path, options), self.out)


def read_search(path: Path) -> Search:
    """Read a plan of a search.

    For example::

        out = "sweeps/tuned"      # default: sweeps/ and the plan's name
        objective = "score"       # or "return"
        trials = 30

        [options]                 # of every run
        task = "hopper-mixed"
        epochs = 100

        [search]
        horizon = {low = 1, high = 20, int = true}
        penalty_coef = {low = 0.1, high = 10.0, log = true}
        penalty = {choices = ["ensemble-std", "learned-variance"]}

    Raises:
        ConfigError: If the file is no such plan, or an end of a range is no value of its option.
        MissingExtraError: If Optuna is not installed.
    """
    content = read_toml(path, _PARTS)
    options, ranges = content.get("options", {}), content.get("search", {})
    if not isinstance(options, dict) or not isinstance(ranges, dict) or not ranges:
        raise ConfigError(f"{path}: expected a table [options], and a table [search] with one or more names.")
    try:
        search = Search(
            path=path,
            out=Path(content.get("out", Path("sweeps") / path.stem)),
            objective=check_choice("objective", content.get("objective", "score"), Objective),
            trials=check_integer("trials", content.get("trials", 30)),
            seed=check_integer("seed", content.get("seed", 0), minimum=0),
            batch=check_integer("batch", content.get("batch", 1)),
            options=options,
            space={name: _distribution(name, ranges[name]) for name in sorted(ranges)},
        )
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    first = {name: _ends(distribution)[0] for name, distribution in search.space.items()}
    for name, distribution in search.space.items():
        for value in _ends(distribution):
            config = search.job({**first, name: value}).config
    measured = "score_every" if search.objective == "score" else "evaluate_every"
    if not getattr(config, measured):
        raise ConfigError(f"{path}: {measured}: found 0, but the objective is the {search.objective}.")
    return search


def tune(search: Search, backend: Backend, *, notify: Callable[[str], None] = lambda line: None) -> Study:
    """Carry out a search, or continue it. It ends as if it had not been interrupted.

    Every suggestion depends on the seed, its number and the batches before. So it matters neither how many jobs are
    done at once nor in which order they end. `notify` gets a line for each run that begins or ends, and for each trial.

    Raises:
        ConfigError: If the first runs fail, as all would.
        StoreError: If another process works on the search.
        KeyboardInterrupt: After a signal, when the runs are saved.
    """
    optuna = require_extra("optuna", "tune")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    states: type[TrialState] = optuna.trial.TrialState
    with folder_lock(search.out):
        study = _study(search)
        while True:
            trials = _asked(study, search)
            _ask_batch(study, search, trials)
            batch = [trial for trial in trials if trial.state == states.RUNNING]
            if not batch:
                return study
            jobs = [search.job(trial.params) for trial in batch]
            failed = run_jobs(list({job.key: job for job in jobs}.values()), search.out, backend, notify=notify)
            if failed and not any(trial.state == states.COMPLETE for trial in trials):
                raise ConfigError(f"{search.path}: the first runs failed. {search.out / 'logs'} says why.")
            for trial, job in zip(batch, jobs, strict=True):
                value = _value(job, search.objective)
                state = states.FAIL if value is None else states.COMPLETE
                study.tell(trial.number, value, state)
                notify(f"trial {trial.number}: {_shown(value)} with {_shown(trial.params)}")


def best_job(study: Study, search: Search) -> tuple[Job, float]:
    """Return the run of the best trial, and its value."""
    complete = [trial for trial in study.trials if trial.value is not None]
    if not complete:
        raise ConfigError(f"{search.path}: no trial has a {search.objective}. {search.out / 'logs'} says why.")
    return search.job(study.best_trial.params), study.best_value


def _study(search: Search) -> Study:
    """Open the study; another search in the same folder is another study of the same file."""
    import optuna
    from sqlalchemy import URL

    space = {name: optuna.distributions.distribution_to_json(found) for name, found in search.space.items()}
    what = {name: value for name, value in asdict(search).items() if name not in ("path", "out", "trials", "space")}
    file = search.out.absolute() / "study.db"
    return optuna.create_study(
        storage=URL.create("sqlite", database=str(file)).render_as_string(),
        study_name=digest({**what, "space": space})[:16],
        direction="maximize",
        load_if_exists=True,
    )


def _asked(study: Study, search: Search) -> list[FrozenTrial]:
    """Return the trials that have all their values. One that a kill left without some is given up."""
    found = []
    for trial in study.get_trials():
        if len(trial.params) == len(search.space):
            found.append(trial)
        elif not trial.state.is_finished():
            study.tell(trial.number, state=type(trial.state).FAIL)
    return found


def _ask_batch(study: Study, search: Search, trials: list[FrozenTrial]) -> None:
    """Add the trials of the next batch, or what is missing of it."""
    import numpy as np
    import optuna

    while len(trials) < search.trials and (
        len(trials) % search.batch or all(trial.state.is_finished() for trial in trials)
    ):
        # A generator for each number, because the state of one generator would be lost with the process.
        seed = int(np.random.SeedSequence([search.seed, len(trials)]).generate_state(1)[0])
        study.sampler = optuna.samplers.TPESampler(seed=seed)
        number = study.ask(dict(search.space)).number
        trials.append(study.get_trials()[number])


def _value(job: Job, objective: Objective) -> float | None:
    """Return what a trial is worth; None if it failed or was never judged."""
    if not is_finished(job.folder):
        return None
    status = status_of(job)
    value = status.best_score if objective == "score" else status.last_10_return
    return value if value is not None and math.isfinite(value) else None


def _distribution(name: str, given: Any) -> BaseDistribution:
    distributions = require_extra("optuna", "tune").distributions
    option = name.partition(".")[0]
    if ROLES.get(option) not in _TUNABLE or ("." in name) != (option == "agent_options"):
        tunable = [known for known, role in ROLES.items() if role in _TUNABLE and known != "agent_options"]
        raise UnknownNameError("option to search", name, [*tunable, "agent_options.NAME"])
    expected = f"search.{name}: found {given!r}, expected {{low, high}} with log or int, or {{choices}}."
    if not isinstance(given, dict):
        raise ConfigError(expected)
    rest = dict(given)
    try:
        if "choices" in rest:
            found: BaseDistribution = distributions.CategoricalDistribution(rest.pop("choices"))
        else:
            kind = distributions.IntDistribution if rest.pop("int", False) else distributions.FloatDistribution
            found = kind(rest.pop("low"), rest.pop("high"), log=rest.pop("log", False))
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{expected} {error}") from error
    if rest:
        raise ConfigError(expected)
    return found


def _ends(distribution: Any) -> list[Any]:
    """Return every choice, or both ends of a range."""
    return list(getattr(distribution, "choices", None) or (distribution.low, distribution.high))


def _shown(found: Any) -> str:
    if isinstance(found, Mapping):
        return ", ".join(f"{name} {_shown(value)}" for name, value in found.items())
    return "no value" if found is None else f"{found:.4g}" if isinstance(found, float) else str(found)
