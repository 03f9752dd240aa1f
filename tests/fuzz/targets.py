"""What is fuzzed: every loader, with sound files to begin from, and what must hold of whatever they become.

A loader returns what it returned before, or raises an error of ours, within a second of computing and with less than
200 MB. A format with checksums may not return anything else; the others must return sound data. With the checksums
computed again, as an author can, a format of ours is one without.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import resource
import shutil
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from helpers.agents import halfcheetah_rows, make_small, penalized_model
from helpers.minari_files import ID, write_three_episodes
from helpers.models import fitted_ensemble
from helpers.runs import leave_run
from helpers.transitions import transitions

from mopo_agents.policies import load_policy, save_policy
from mopo_agents.runs.folder import recorded_config
from mopo_agents.runs.policy_files import find_policy
from mopo_agents.runs.results import read_run
from mopo_agents.runs.state.files import AppendLog, read_state, write_state
from mopo_agents.sweeps.plan import read_plan
from mopo_env import load_d4rl, load_minari, load_table, load_transitions, save_transitions
from mopo_env._utils.json_files import json_text, parse_json
from mopo_env.errors import MopoError
from mopo_env.models.ensemble import load_ensemble, save_ensemble
from mopo_env.terminations.learned import LearnedTermination, load_termination, save_termination
from mopo_env.transitions import Transitions

SECONDS, MEGABYTES = 1.0, 200.0
_STATUS = Path("/proc/self/status")


class Violation(AssertionError):
    """A file did what no file may do."""


@dataclass(frozen=True)
class Target:
    """A loader: how sound files are made, how they are read, and whether checksums protect them."""

    make: Callable[[Path], Any]
    read: Callable[[Path], Any]
    protected: bool = True
    skip: tuple[str, ...] = ()


def _meaning(value: Any) -> Any:
    """Return what can be compared, and check that it is sound."""
    if isinstance(value, Transitions):
        for name in ("observations", "actions", "rewards", "next_observations"):
            if not np.isfinite(getattr(value, name)).all():
                raise Violation(f"{name} are not finite")
        return value.fingerprint
    if hasattr(value, "state_dict"):
        state = value.state_dict()
        if not all(np.isfinite(tensor.numpy()).all() for tensor in state.values()):
            raise Violation("a weight is not finite")
        return {name: tensor.numpy().tobytes() for name, tensor in state.items()}
    if isinstance(value, dict):
        return {name: _meaning(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_meaning(entry) for entry in value]
    return value.tobytes() if isinstance(value, np.ndarray) else value


def _make_termination(folder: Path) -> None:
    rule = LearnedTermination(3, 2, hidden_sizes=(4,))
    rule.metadata = {"test": {"f1": 0.75}}
    save_termination(rule, folder)


def _make_state(folder: Path) -> None:
    write_state(folder, "training", {"agent": {"w": np.arange(4.0), "n": 3}, "notes": {"best": None}})
    log = AppendLog(folder)
    for start in (0.0, 5.0):
        log.append({"steps": np.arange(start, start + 5)}, length=5)


def _make_run(folder: Path) -> None:
    leave_run(folder / "run")
    (folder / "run" / "evaluations.csv").write_text("epoch,return_mean\n1,3.5\n2,4.5\n")
    # A run that has only its options yet.
    from mopo_agents.runs.config import TrainConfig
    from mopo_agents.runs.identity import describe
    from mopo_agents.runs.resolve import resolve

    run = resolve(TrainConfig(task="halfcheetah-mixed", agent="BC"))
    (folder / "begun").mkdir()
    (folder / "begun" / "config.json").write_bytes(json_text(describe(run, halfcheetah_rows(20), None)))


def _read_run(folder: Path) -> Any:
    found = [read_run(folder / "run"), recorded_config(folder / "begun")]
    try:
        return [*found, str(find_policy(folder / "run", "best"))]
    except MopoError as error:
        return [*found, str(error)]


def _make_d4rl(folder: Path) -> None:
    with h5py.File(folder / "hopper_medium-v2.hdf5", "w") as file:
        random = np.random.default_rng(0)
        for name, width in (("observations", 3), ("next_observations", 3), ("actions", 2)):
            options: dict[str, Any] = {"chunks": (4, width), "compression": "gzip"} if width == 2 else {}
            file.create_dataset(name, data=random.uniform(-1, 1, (12, width)).astype("f4"), **options)
        file["rewards"] = random.normal(size=12).astype("f4")
        file["terminals"], file["timeouts"] = np.arange(12) == 5, np.arange(12) == 11
        file["metadata/algorithm"] = "SAC"


def _make_minari(folder: Path) -> None:
    with _environment(MINARI_DATASETS_PATH=str(folder)):
        write_three_episodes()


def _read_minari(folder: Path) -> Transitions:
    with _environment(MINARI_DATASETS_PATH=str(folder)):
        return load_minari(ID)


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    import pytest

    with pytest.MonkeyPatch.context() as patch:
        for name, value in values.items():
            patch.setenv(name, value)
        yield


_COLUMNS: dict[str, Any] = {"observations": ["x", "y"], "actions": ["push"], "reward": "pay", "episode": "run"}
_CSV = "run,t,x,y,push,pay,mode\n" + "".join(
    f"{i // 10},2024-01-01T00:00:{i % 10:02d},{0.1 * i},{-i},{i % 2},{1.5 * i},{'ab'[i % 2]}\n" for i in range(20)
)


def _make_csv(folder: Path) -> None:
    (folder / "log.csv").write_text(_CSV)
    (folder / "log.csv.gz").write_bytes(gzip.compress(_CSV.encode(), mtime=0))


def _make_parquet(folder: Path) -> None:
    import pyarrow.parquet as parquet
    from pyarrow import table

    rows = [line.split(",") for line in _CSV.splitlines()]
    columns: dict[str, Any] = {name: [row[place] for row in rows[1:]] for place, name in enumerate(rows[0])}
    numbers = {name: np.array(columns[name], dtype=float) for name in ("x", "y", "push", "pay")}
    parquet.write_table(table({**columns, **numbers}), folder / "log.parquet", compression="snappy")


def _read_tables(*names: str) -> Callable[[Path], Any]:
    options = {**_COLUMNS, "time": "t", "one_hot": ["mode"], "observations": ["x", "y", "mode"]}
    return lambda folder: [load_table(folder / name, **options) for name in names]


def _make_plan(folder: Path) -> None:
    text = 'out = "sweeps/a"\n[options]\nepochs = 10\nagent_options = { learning_rate = 1e-4 }\n[[grid]]\n'
    (folder / "plan.toml").write_text(text + 'task = ["hopper-mixed", "walker2d-mixed"]\nseed = [0, 1]\n')


def _read_plan(folder: Path) -> Any:
    return [(job.key, str(job.folder)) for job in read_plan(folder / "plan.toml").jobs]


TARGETS: dict[str, Target] = {
    "dataset": Target(lambda folder: save_transitions(transitions(20), folder), load_transitions),
    "ensemble": Target(lambda folder: save_ensemble(fitted_ensemble(transitions(30)), folder), load_ensemble),
    "termination": Target(_make_termination, load_termination),
    "policy": Target(lambda folder: save_policy(make_small("SAC", penalized_model()), folder), load_policy),
    "run": Target(_make_run, _read_run, skip=("evaluations.csv",)),
    "evaluations": Target(_make_run, _read_run, protected=False, skip=("config.json", "result.json")),
    "state": Target(_make_state, lambda folder: [read_state(folder, "training"), AppendLog(folder).read(until=10)]),
    "d4rl": Target(_make_d4rl, lambda folder: load_d4rl(folder / "hopper_medium-v2.hdf5"), protected=False),
    "minari": Target(_make_minari, _read_minari, protected=False),
    "csv": Target(_make_csv, _read_tables("log.csv", "log.csv.gz"), protected=False),
    "parquet": Target(_make_parquet, _read_tables("log.parquet"), protected=False),
    "plan": Target(_make_plan, _read_plan, protected=False),
}


def _memory() -> float:
    """Return the most megabytes that this process had since `_forget_memory`; without Linux's /proc, ever."""
    found = re.search(r"VmHWM:\s+(\d+) kB", _STATUS.read_text()) if _STATUS.exists() else None
    return int(found[1]) / 1024 if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _forget_memory() -> float:
    """Begin to measure, and return the megabytes of now."""
    if _STATUS.exists():
        _STATUS.with_name("clear_refs").write_text("5")
    return _memory()


def _reseal(path: Path, body: bytes) -> bytes | None:
    """Compute the digests of a changed file again, as its author would; None: there is nothing to compute."""
    if path.suffix == ".safetensors":
        manifest = path.with_name(path.name.split("-", maxsplit=1)[0] + ".json")
        if path.name.startswith("part-"):
            manifest = path.with_name("-".join(path.name.split("-")[:2]) + ".json")
        content = parse_json(manifest.read_bytes())
        content["tensors"].update({"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()})
        manifest.write_bytes(json_text(content))
        return body
    if path.suffix == ".json":
        try:
            return json_text(parse_json(body))
        except (ValueError, RecursionError, MopoError):
            return None
    return None


class Fuzzed:
    """The files of a target in a folder, one of which is replaced at a time.

    Attributes:
        bodies: The sound files by their names.
    """

    def __init__(self, target: Target, folder: Path) -> None:
        """Make the files, and read them often enough that the memory that the loader keeps is taken."""
        self._target, self._folder, self._sound = target, folder / "fuzzed", folder / "sound"
        for place in (self._folder, self._sound):
            place.mkdir()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            target.make(self._sound)
        files = sorted(path for path in self._sound.rglob("*") if path.is_file())
        self.bodies = {
            str(path.relative_to(self._sound)): path.read_bytes() for path in files if path.name not in target.skip
        }
        shutil.copytree(self._sound, self._folder, dirs_exist_ok=True)
        for _ in range(3):
            self._meaning = _meaning(target.read(self._folder))

    def execute(self, name: str, body: bytes, *, resealed: bool = False) -> str:
        """Read the files with another body in the place of one; return ``"same"``, ``"other"`` or our error's name.

        Raises:
            Violation: If the loader returns what it must not, or takes too long or too much.
            Exception: Whatever else the loader raises.
        """
        path = self._folder / name
        manifests = {other: other.read_bytes() for other in path.parent.glob("*.json")} if resealed else {}
        path.write_bytes((_reseal(path, body) or body) if resealed else body)
        began, before = time.process_time(), _forget_memory()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = _meaning(self._target.read(self._folder))
            outcome = "same" if found == self._meaning else "other"
        except MopoError as error:
            outcome = type(error).__name__
        finally:
            for other, content in manifests.items():
                other.write_bytes(content)
            path.write_bytes(self.bodies[name])
        seconds, taken = time.process_time() - began, _memory() - before
        if seconds > SECONDS:
            raise Violation(f"{name}: took {seconds:.1f} s of computing")
        if taken > MEGABYTES:
            raise Violation(f"{name}: took {taken:.0f} MB")
        if outcome == "other" and self._target.protected and not resealed:
            raise Violation(f"{name}: the loader returned something else")
        return outcome
