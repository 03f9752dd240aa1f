"""The command line: from data to a policy in three commands, and mistakes that end in one readable sentence."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from mopo_agents.cli import data as cli_data
from mopo_agents.cli import main as cli
from mopo_agents.collection.config import CollectConfig
from mopo_agents.collection.episodes import EpisodeRunner
from mopo_agents.evaluation import evaluate
from mopo_agents.policies import load_policy
from mopo_agents.runs.methods import METHODS
from mopo_env.datasets.files import load_transitions, save_transitions
from mopo_env.tasks import TASKS
from mopo_env.transitions import Episode, Transitions

TASK = "halfcheetah-mixed"
TINY_FIT = ["--max-epochs=1", "--hidden-sizes", "8", "--weight-decay", "0", "0", "--num-members=2", "--num-elites=1"]
TINY_RUN = ["--epochs=1", "--gradient-steps=1", "--rollout-batch-size=8", "--evaluation-episodes=1", "--seed=2"]

COLUMNS = ["--observations", "pos", "vel", "--actions", "u", "--reward", "r"]

Mopo = Callable[..., tuple[int, str, str]]


def cheetah_data() -> Transitions:
    """Random numbers of HalfCheetah's widths: nothing is learned from them here."""
    random = np.random.default_rng(0)
    return Transitions(
        observations=random.normal(size=(100, 17)),
        actions=random.uniform(-1, 1, size=(100, 6)),
        rewards=random.normal(size=100),
        next_observations=random.normal(size=(100, 17)),
        terminations=np.zeros(100, dtype=bool),
        truncations=np.arange(100) % 50 == 49,
    )


@pytest.fixture(autouse=True)
def _nothing_bundled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes with the package must not decide what these tests see."""
    monkeypatch.setattr("mopo_env.datasets.folders._BUNDLED", tmp_path / "bundled")


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """A folder with a dataset."""
    save_transitions(cheetah_data(), tmp_path / "data")
    return tmp_path / "data"


def flat(text: str) -> str:
    """Undo tyro's boxes and line breaks."""
    return re.sub(r"[│╭╰─╮╯\s]+", " ", text)


def test_tasks_lists_every_task(mopo: Mopo) -> None:
    """The first command of a newcomer: which ids there are, and what to do for the data."""
    code, out, _ = mopo("tasks")
    assert code == 0
    for task in TASKS.values():
        (line,) = [line for line in out.splitlines() if line.startswith(f"{task.id} ")]
        assert line.split()[1:4] == [str(task.horizon), f"{task.penalty_coef:g}", task.real_env_id]
        assert line.endswith(f"mopo collect {task.name}")


def test_tasks_says_where_data_are(mopo: Mopo, tmp_path: Path) -> None:
    """Bundled data come first; the rest lies where MOPO_DATASETS_PATH says."""
    save_transitions(cheetah_data(), tmp_path / "bundled" / "hopper-mixed")
    save_transitions(cheetah_data(), tmp_path / "mopo" / TASK)
    _, out, _ = mopo("tasks")
    ends = {line.split()[0]: line for line in out.splitlines()}
    assert ends["MOPO-hopper-mixed"].endswith(" bundled")
    assert ends[f"MOPO-{TASK}"].endswith(str(tmp_path / "mopo" / TASK))


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        (None, ["tasks", "methods", "collect", "data", "fit", "fit-termination", "train", "evaluate", "report"]),
        ("methods", []),
        ("report", ["PATH", "--csv"]),
        ("data", ["show", "import-d4rl", "import-table"]),
        (("data", "show"), ["--task", "--plot"]),
        (("data", "import-d4rl"), ["--out", "--max-episode-steps", "--sha256"]),
        ("tasks", []),
        (
            "collect",
            ["--steps", "--behaviour-steps", "--seed", "--workers", "--checkpoint-minutes", "--out", "--minari"],
        ),
        ("fit", ["--out", "--device", "--num-members", "--hidden-sizes", "--max-epochs", "--lipschitz"]),
        ("fit-termination", ["--out", "--device", "--inputs", "--patience", "--test-share"]),
        (
            "train",
            [
                "--termination",
                "--real-env",
                "--standardise",
                "--out",
                "--method",
                "--agent",
                "--penalty-coef",
                "--penalty-members",
                "--halt-threshold",
                "--member-per",
                "--deterministic",
                "--target-entropy",
                "--random-rollouts",
                "--rollout-batch-size",
                "--real-ratio",
                "--dataset",
                "--agent-options JSON",
            ],
        ),
        ("evaluate", ["--task", "--real-env", "--episodes", "--seed"]),
    ],
)
def test_help_mentions_every_argument(mopo: Mopo, command: str | tuple[str, ...] | None, arguments: list[str]) -> None:
    words = () if command is None else (command,) if isinstance(command, str) else command
    code, out, _ = mopo(*words, "--help")
    assert code == 0
    assert " ".join(["usage: mopo", *words]) in out
    for argument in arguments:
        assert argument in out


@pytest.mark.parametrize("command", ["train", "collect"])
def test_an_unknown_task_lists_the_nearest(mopo: Mopo, command: str) -> None:
    """Whichever layer notices it."""
    code, out, err = mopo(command, "halfcheetah-mixd")
    assert (code, out) == (2, "")
    assert "Did you mean 'halfcheetah-mixed'" in flat(err)
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["collect", "hopper-medium", "--behaviour-steps", "10"], "behaviour_steps: found 10"),
        (["fit", "nowhere", "--out", "model"], "no dataset 'nowhere'"),
        (["fit", "nowhere"], "no dataset 'nowhere'"),
        (["evaluate", "nowhere"], "there is no policy in nowhere"),
        (["report", "nowhere"], "nowhere: neither a training run nor a folder that holds some"),
        (["train", TASK, "--method", "mopo-nolip"], "Did you mean 'mopo-no-lip'"),
        (["train", TASK], "mopo collect halfcheetah-mixed"),
        (["train", TASK, "--dataset", "nowhere"], "nowhere"),
        (["collect", "hopper-mixed", "--steps", "10"], "steps: found 10"),
        (["fit", TASK, "--out", "model"], "mopo collect halfcheetah-mixed"),
        (["data", "import-d4rl", "nowhere.hdf5", "--out", "model"], "nowhere.hdf5: no such file"),
        (["data", "import-table", "nowhere.csv", *COLUMNS, "--out", "model"], "nowhere.csv: no such file"),
        (
            ["data", "import-table", "x.csv", *COLUMNS, "--out", "model", "--action-low", "1", "1"],
            "--action-low: found 2",
        ),
        (["data", "import-table", "x.csv", *COLUMNS, "--out", "model", "--action-low", "1"], "finite low below high"),
        (
            ["data", "import-table", "x.csv", *COLUMNS, "--out", "m", "--discrete-actions", "0"],
            "--discrete-actions: expected",
        ),
        (
            ["data", "import-table", "x.csv", *COLUMNS, "--out", "m", "--discrete-actions", "2", "--action-low", "1"],
            "neither --action-low",
        ),
    ],
)
def test_our_errors_are_one_sentence_on_stderr(mopo: Mopo, arguments: list[str], expected: str) -> None:
    """A traceback of forty lines hides the one that says what to do; exit code 2 lets a script notice."""
    code, out, err = mopo(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("mopo: ")
    assert expected in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["train", TASK, "--epochs", "0"], "epochs: expected an integer of at least 1, found 0"),
        (["train", TASK, "--real-ratio", "2"], "real_ratio: expected a finite number"),
        (["train", TASK, "--penalty-coeff", "2"], "--penalty-coeff"),
        (["train", TASK, "--agent-options", "{learning_rate: 1}"], "Error parsing --agent-options"),
        (["train", TASK, "--agent-options", "[1]"], "agent_options: expected a mapping"),
        (["fit", "data", "--num-elites", "9"], "num_elites: 9 exceeds num_members, 7"),
        (["fit", "data", "--max-epochs", "many"], "many"),
        (["collect"], "required"),
        (["data"], "subcommand"),
        (["data", "import-d4rl", "file.hdf5"], "--out"),
        (["data", "import-table", "file.csv", "--out", "model"], "--observations"),
        (["fly"], "fly"),
        ([], "subcommand"),
    ],
)
def test_wrong_arguments_are_refused(mopo: Mopo, arguments: list[str], expected: str) -> None:
    code, out, err = mopo(*arguments)
    assert (code, out) == (2, "")
    assert expected in flat(err)
    assert "Traceback" not in err


def test_ctrl_c_ends_quietly(mopo: Mopo, monkeypatch: pytest.MonkeyPatch) -> None:
    """130 is what shells expect of an interrupted command."""

    def interrupt(*args: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.app, "cli", interrupt)
    assert mopo("tasks") == (130, "", "mopo: interrupted\n")


def test_errors_of_programming_are_not_hidden(mopo: Mopo, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what is refused on purpose is shortened; a bug must show its traceback, or it cannot be reported."""

    def broken(*args: Any, **options: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(cli.app, "cli", broken)
    with pytest.raises(ZeroDivisionError):
        mopo("tasks")


def test_from_data_to_a_policy(mopo: Mopo, dataset: Path, tmp_path: Path) -> None:
    """Fit, train, evaluate: each says where its result lies and what comes next, and the next accepts it."""
    pytest.importorskip("mujoco")
    code, out, err = mopo("fit", dataset, *TINY_FIT)
    assert (code, "Traceback" in err) == (0, False)
    assert out.splitlines()[-1] == f"Dataset and ensemble are in {dataset}. Next: mopo train {dataset}"
    assert (dataset / "ensemble.json").is_file()

    code, out, err = mopo("train", TASK, "--dataset", dataset, *TINY_RUN)
    assert (code, "Traceback" in err) == (0, False)
    folder = Path("runs") / f"{TASK}-SAC-seed2"
    assert "| dataset, mean episode" in out
    assert "| policy, mean of 1 episodes" in out
    assert out.splitlines()[-1] == f"Policy, logs and result.json are in {folder}. Next: mopo evaluate {folder}"
    assert (folder / "result.json").is_file()
    assert json.loads((folder / "config.json").read_text())["seed"] == 2

    code, out, err = mopo("evaluate", folder, "--episodes", 2, "--seed", 7)
    assert (code, "Traceback" in err) == (0, False)
    path = folder / f"evaluation-{TASK}-seed7.json"
    assert out.splitlines()[-1] == f"The returns of all episodes are in {path}."
    content = json.loads(path.read_text())
    assert (content["task"], content["seed"], content["lengths"]) == (TASK, 7, [1000, 1000])
    expected = evaluate(load_policy(folder), TASK, episodes=2, seed=7)
    assert content["returns"] == list(expected.returns)
    assert f"return {np.mean(content['returns']):.1f} ± {np.std(content['returns']):.1f}" in out

    assert ", normalised " in out
    # A reward for which D4RL has no references: the return alone.
    code, out, _ = mopo("evaluate", folder, "--task", "halfcheetah-jump", "--episodes", 1)
    assert code == 0
    assert "MOPO-halfcheetah-jump, 1 episodes: return " in out
    assert "normalised" not in out

    # Data of D4RL are nearest to v4; its returns are kept beside those of v5.
    code, out, _ = mopo("evaluate", folder, "--real-env", "HalfCheetah-v4", "--episodes", 1)
    assert code == 0
    assert f"MOPO-{TASK} in HalfCheetah-v4, 1 episodes: return " in out
    assert ", normalised " in out
    content = json.loads((folder / f"evaluation-{TASK}-HalfCheetah-v4-seed0.json").read_text())
    assert (content["task"], content["real_env"]) == (TASK, "HalfCheetah-v4")

    # The same command again is a new run in a new folder; its agent can have options of its own.
    options = '{"learning_rate": 1e-4}'
    code, out, _ = mopo(
        "train", TASK, "--dataset", dataset, "--evaluate-every=0", *TINY_RUN, "--agent-options", options
    )
    assert json.loads((Path(f"{folder}-2") / "config.json").read_text())["agent_options"] == {"learning_rate": 1e-4}
    assert code == 0
    assert out.splitlines()[-1].startswith(f"Policy, logs and result.json are in {folder}-2.")
    # A wrong task is noticed before SB3 stumbles over it.
    code, _, err = mopo("evaluate", folder, "--task", "hopper-mixed", "--episodes", 1)
    assert code == 2
    assert err.startswith("mopo: observation_space")


def test_methods_lists_every_method(mopo: Mopo) -> None:
    """What each sets, and what the paper says of it."""
    code, out, _ = mopo("methods")
    assert code == 0
    for method in METHODS.values():
        (line,) = [line for line in out.splitlines() if line.startswith(f"{method.name} ")]
        assert method.title in line
        assert f" {method.paper_returns.get('halfcheetah-mixed', '–')} " in line
        for name, value in {**method.fit, **method.train}.items():
            assert f"{name}={value}" in line
        assert line.endswith("no model") == method.model_free
    assert "mopo train TASK --method METHOD" in out


def test_methods_and_their_report(mopo: Mopo, dataset: Path, tmp_path: Path) -> None:
    """Two seeds of one method, one of another, an unfinished run; one table, and the same as CSV."""
    pytest.importorskip("mujoco")
    assert mopo("fit", dataset, *TINY_FIT)[0] == 0
    short = ["--dataset", dataset, *(option for option in TINY_RUN if not option.startswith("--seed"))]
    for seed in (0, 1):
        code, out, _ = mopo("train", TASK, "--method", "mbpo-no-ens", "--seed", seed, *short)
        assert code == 0
        assert f"runs/{TASK}-mbpo-no-ens-SAC-seed{seed}" in out
    code, _, _ = mopo("train", TASK, "--penalty", "ensemble-std", "--penalty-members", "elites", *short)
    assert code == 0
    assert (Path("runs") / f"{TASK}-SAC-seed0").is_dir(), "the default method is not part of the name"
    (Path("runs") / "broken").mkdir()
    (Path("runs") / "broken" / "config.json").write_text("{}")

    code, out, err = mopo("report", "runs", "--csv", tmp_path / "table.csv")
    assert code == 0
    assert err == "left out: runs/broken: unfinished, there is no result.json.\n"
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in out.splitlines() if line[:1] == "|"]
    assert [line[:6] for line in lines[2:]] == [
        [
            f"{TASK} on data",
            "mopo-no-lip, penalty=ensemble-std, penalty_members=elites, fit.num_members=2, fit.num_elites=1, "
            "fit.hidden_sizes=[8], evaluation_episodes=1",
            "SAC",
            "8",
            "1",
            "1",
        ],
        [f"{TASK} on data", "mbpo-no-ens, fit.hidden_sizes=[8], evaluation_episodes=1", "SAC", "8", "1", "1"],
    ]
    assert [[line[6], line[13]] for line in lines[2:]] == [["1", "–"], ["2", "–"]]
    with (tmp_path / "table.csv").open(newline="") as stream:
        table = list(csv.DictReader(stream))
    assert [row["seeds"] for row in table] == ["1", "2"]
    assert f"All columns are in {tmp_path / 'table.csv'}." in out


def test_a_report_of_nothing_is_refused(mopo: Mopo, tmp_path: Path) -> None:
    """A table without rows would look like a result."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{}")
    code, out, err = mopo("report", "run", "--csv", "table.csv")
    assert (code, out) == (2, "")
    assert err.splitlines()[-1] == "mopo: runs: none of 1 can be reported."
    assert not (tmp_path / "table.csv").exists()
    assert mopo("report")[0] == 2


def test_fit_writes_dataset_and_ensemble_elsewhere(mopo: Mopo, dataset: Path, tmp_path: Path) -> None:
    """One folder then holds all that training needs, and the source is as it was."""
    code, out, _ = mopo("fit", dataset, "--out", tmp_path / "model", *TINY_FIT)
    assert code == 0
    assert f"Dataset and ensemble are in {tmp_path / 'model'}." in out
    assert load_transitions(tmp_path / "model").fingerprint == load_transitions(dataset).fingerprint
    assert (tmp_path / "model" / "ensemble.json").is_file()
    assert not (dataset / "ensemble.json").exists()


def test_fit_of_a_collected_task_writes_beside_its_data(mopo: Mopo, tmp_path: Path) -> None:
    """So that `gymnasium.make` of the id finds both."""
    save_transitions(cheetah_data(), tmp_path / "mopo" / TASK)
    code, _, _ = mopo("fit", TASK, *TINY_FIT)
    assert code == 0
    assert (tmp_path / "mopo" / TASK / "ensemble.json").is_file()


def test_fit_does_not_write_into_the_package(mopo: Mopo, tmp_path: Path) -> None:
    """Bundled data are shared by all users of a machine, and part of a checksum of pip's."""
    bundled = tmp_path / "bundled" / TASK
    save_transitions(cheetah_data(), bundled)
    before = sorted(path.name for path in bundled.iterdir())
    for name in (TASK, f"MOPO-{TASK}"):
        code, _, err = mopo("fit", name, *TINY_FIT)
        assert code == 2
        assert err.startswith("mopo: --out: needed")
    assert sorted(path.name for path in bundled.iterdir()) == before
    code, _, _ = mopo("fit", TASK, "--out", tmp_path / "model", *TINY_FIT)
    assert code == 0


def test_collect_refuses_a_folder_that_holds_a_dataset(
    mopo: Mopo, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half an hour of collecting must not overwrite another; and it is said before the half hour."""
    monkeypatch.setattr("mopo_agents.collection.recipes.RECIPES", {})
    before = {path.name: path.read_bytes() for path in dataset.iterdir()}
    code, _, err = mopo("collect", TASK, "--out", dataset)
    assert code == 2
    assert "already holds a dataset" in err
    assert {path.name: path.read_bytes() for path in dataset.iterdir()} == before
    save_transitions(cheetah_data(), tmp_path / "mopo" / TASK)
    assert "already holds a dataset" in mopo("collect", TASK)[2]


def test_collect_writes_where_the_id_looks(mopo: Mopo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then `mopo fit TASK` needs no path. The collecting itself is replaced: it has tests of its own."""
    asked: dict[str, Any] = {}

    def collect(config: CollectConfig, *, folder: Path) -> Transitions:
        asked.update(config=config, folder=folder)
        return cheetah_data()

    monkeypatch.setattr("mopo_agents.collection.recipes.collect", collect)
    code, out, _ = mopo("collect", TASK, "--steps", 100, "--seed", 3, "--workers", 2, "--threshold", 9.5)
    folder = tmp_path / "mopo" / TASK
    assert code == 0
    expected = CollectConfig(task=TASK, steps=100, seed=3, workers=2, threshold=9.5)
    assert asked == {"config": expected, "folder": folder}
    assert out.splitlines()[0].startswith("100 transitions; episode returns: mean ")
    assert out.splitlines()[-1] == f"The dataset is in {folder}. Next: mopo fit {folder}"


def test_an_interrupted_collection_goes_on_with_the_same_command(mopo: Mopo, tmp_path: Path) -> None:
    """Ctrl-C in the real thing: exit code 130, a line that says what to do, and then the data of a run in one go."""
    pytest.importorskip("mujoco")
    command = ["collect", "hopper-random", "--steps", "900", "--out"]
    run = EpisodeRunner.run

    def interrupted(self: EpisodeRunner, group: int) -> list[Episode]:
        if group == 1:
            signal.raise_signal(signal.SIGINT)
        return run(self, group)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EpisodeRunner, "run", interrupted)
        code, out, err = mopo(*command, tmp_path / "data")
    assert (code, out) == (130, "")
    assert f"what is done so far is in {tmp_path / 'data'}; the same command goes on from there" in err
    assert "Traceback" not in err
    assert mopo(*command, tmp_path / "data")[0] == 0
    assert mopo(*command, tmp_path / "straight")[0] == 0
    fingerprints = [load_transitions(tmp_path / name).fingerprint for name in ("data", "straight")]
    assert fingerprints[0] == fingerprints[1]


def write_table(path: Path) -> Path:
    """Two runs of four steps, of which the last is worth its observation only."""
    lines = [f"{run},{step},{10 * run + step},{step % 2 * 4 - 2},{step}" for run in (0, 1) for step in range(4)]
    path.write_text("\n".join(["run,vel,pos,u,r", *lines]))
    return path


def test_import_table(mopo: Mopo, tmp_path: Path) -> None:
    """From a log to a dataset, with bounds that no column holds."""
    path, folder = write_table(tmp_path / "log.csv"), tmp_path / "data"
    arguments = ("data", "import-table", path, *COLUMNS, "--episode", "run", "--out", folder)
    code, out, err = mopo(*arguments)
    assert (code, out) == (2, "")
    assert "found values from -2 to 2 and no action_space" in err
    assert not folder.exists()
    code, out, err = mopo(*arguments, "--action-low", "-2", "--action-high", "3")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "6 transitions; episode returns: mean 3.0, max 3.0",
        "2 rows were dropped, the last of each episode, since the file lacks their next states.",
        f"The dataset is in {folder}. Next: mopo data show {folder}; mopo fit {folder}",
    ]
    loaded = load_transitions(folder)
    assert loaded.observations[:, 0].tolist() == [0, 1, 2, 10, 11, 12]
    assert (loaded.action_space.low.tolist(), loaded.action_space.high.tolist()) == ([-2], [3])
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    code, _, err = mopo(*arguments, "--action-low", "-2")
    assert code == 2
    assert "already holds a dataset" in err
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_import_table_with_every_column(mopo: Mopo, tmp_path: Path) -> None:
    """Each option reaches the argument of its name."""
    path = tmp_path / "log.csv"
    path.write_text("s,t,a,b,r,died,cut,run\n0,1,0,5,1,0,0,x\n1,2,0,5,1,1,0,x\n7,8,0,5,1,0,1,y\n")
    code, out, _ = mopo(
        *("data", "import-table", path, "--observations", "s", "--next-observations", "t", "--actions", "a", "b"),
        *(
            "--reward",
            "r",
            "--terminated",
            "died",
            "--truncated",
            "cut",
            "--episode",
            "run",
            "--out",
            tmp_path / "data",
        ),
        *("--action-low", "-1", "0", "--action-high", "1", "9"),
    )
    assert (code, "dropped" in out) == (0, False)
    loaded = load_transitions(tmp_path / "data")
    assert loaded.next_observations[:, 0].tolist() == [1, 2, 8]
    assert loaded.terminations.tolist() == [False, True, False]
    assert loaded.truncations.tolist() == [False, False, True]
    assert loaded.action_space.high.tolist() == [1, 9]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (None, (3.0,), ([-1, -1], [3, 3])),
        ((-2.0,), None, ([-2, -2], [1, 1])),
        ((-2.0, 0.0), (3.0, 4.0), ([-2, 0], [3, 4])),
    ],
)
def test_bounds_of_actions(low: Any, high: Any, expected: tuple[list[float], list[float]]) -> None:
    """One number stands for all actions, and what is not given is −1 or 1."""
    space = cli_data._action_space(2, low, high)
    assert isinstance(space, Box)
    assert (space.low.tolist(), space.high.tolist()) == expected


def test_import_table_of_numbered_actions(mopo: Mopo, tmp_path: Path) -> None:
    """The log of a switch: one column says which of two actions was taken."""
    path, folder = tmp_path / "log.csv", tmp_path / "data"
    path.write_text("x,on,r\n0.1,0,1\n0.2,1,1\n0.3,1,1\n0.4,0,1\n")
    arguments = (
        "data",
        "import-table",
        path,
        "--observations",
        "x",
        "--actions",
        "on",
        "--reward",
        "r",
        "--out",
        folder,
    )
    code, _, err = mopo(*arguments, "--discrete-actions", "1")
    assert (code, folder.exists()) == (2, False)
    assert "found 1.0 at episode 0, step 1 (row 1), outside Discrete(1)" in err
    code, _, err = mopo(*arguments, "--discrete-actions", "2")
    assert (code, err) == (0, "")
    loaded = load_transitions(folder)
    assert (loaded.actions.tolist(), loaded.action_space) == ([0, 1, 1], Discrete(2))


def test_numbered_actions_from_the_collection_to_an_evaluation(mopo: Mopo, tmp_path: Path) -> None:
    """The commands of docs/discrete.md, in seconds; and an agent that only knows boxes is refused before it starts."""
    data, run = tmp_path / "data", tmp_path / "run"
    assert mopo("collect", "cartpole-mixed", "--steps", "1250", "--out", data)[0] == 0
    assert mopo("fit", data, *TINY_FIT)[0] == 0
    train = ("train", "cartpole-mixed", "--dataset", data, *TINY_RUN, "--out", run)
    code, _, err = mopo(*train, "--agent", "SAC")
    assert (code, run.exists()) == (2, False)
    assert "SAC cannot choose actions of Discrete(2); DQN, QRDQN, PPO or A2C can" in err
    code, out, _ = mopo(*train, "--agent", "DQN")
    assert code == 0
    assert "policy, mean of 1 episodes" in out
    code, out, _ = mopo("evaluate", run, "--episodes", "2")
    assert code == 0
    assert out.startswith("MOPO-cartpole-mixed, 2 episodes: return ")
    assert "normalised" not in out


def test_import_d4rl_and_fit(mopo: Mopo, tmp_path: Path) -> None:
    """What the last line says to type next works."""
    import h5py

    data = cheetah_data()
    with h5py.File(tmp_path / "cheetah-v0.hdf5", "w") as file:
        for name in ("observations", "actions", "rewards"):
            file.create_dataset(name, data=getattr(data, name), compression="gzip")
        file.create_dataset("terminals", data=data.terminations)
    folder = tmp_path / "data"
    code, out, _ = mopo("data", "import-d4rl", tmp_path / "cheetah-v0.hdf5", "--out", folder, "--max-episode-steps", 50)
    assert code == 0
    digest = hashlib.sha256((tmp_path / "cheetah-v0.hdf5").read_bytes()).hexdigest()
    assert out.splitlines()[1] == f"SHA-256 {digest}: none of the files that D4RL published."
    assert out.splitlines()[2].startswith("2 rows were dropped")
    assert out.splitlines()[-1] == f"The dataset is in {folder}. Next: mopo data show {folder}; mopo fit {folder}"
    assert load_transitions(folder).truncations.nonzero()[0].tolist() == [48, 97]
    code, out, _ = mopo("data", "show", folder)
    assert code == 0
    assert "rows dropped: 2 rows of the source" in out
    code, _, _ = mopo("fit", folder, *TINY_FIT)
    assert code == 0


def test_a_checksum_that_the_user_has(mopo: Mopo, tmp_path: Path) -> None:
    """Another file than the one meant is refused before anything of it is read, and nothing is written."""
    path = tmp_path / "hopper_medium-v2.hdf5"
    path.write_bytes(b"no HDF5 at all")
    code, out, err = mopo("data", "import-d4rl", path, "--out", tmp_path / "data", "--sha256", "0" * 64)
    assert (code, out) == (2, "")
    assert f"found the SHA-256 {hashlib.sha256(b'no HDF5 at all').hexdigest()}, expected {'0' * 64}" in err
    code, _, err = mopo("data", "import-d4rl", path, "--out", tmp_path / "data", "--sha256", "0" * 63)
    assert code == 2
    assert "64 hexadecimal digits" in err
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("published", [True, False])
def test_a_published_name_is_compared_with_the_published_file(
    mopo: Mopo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, published: bool
) -> None:
    """The real files are not at hand: this one takes the place of one of them in the table."""
    import h5py

    from mopo_env.datasets.d4rl import D4RL_FILES

    path, data = tmp_path / "halfcheetah_medium-v2.hdf5", cheetah_data()
    with h5py.File(path, "w") as file:
        for name in ("observations", "actions", "rewards", "next_observations"):
            file[name] = getattr(data, name)
        file["terminals"], file["timeouts"] = data.terminations, data.truncations
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    expected = D4RL_FILES[path.name]
    if published:
        monkeypatch.setitem(D4RL_FILES, path.name, digest)
    code, out, _ = mopo("data", "import-d4rl", path, "--out", tmp_path / "data", "--sha256", digest.upper())
    assert code == 0
    note = "the halfcheetah_medium-v2.hdf5 that D4RL published."
    if not published:
        note = f"not the halfcheetah_medium-v2.hdf5 that D4RL published, whose SHA-256 is {expected}."
    assert out.splitlines()[1] == f"SHA-256 {digest}: {note}"
    assert (load_transitions(tmp_path / "data").metadata.get("d4rl_file") is not None) == published
    # The name also tells the task, and with it the batch of the paper to compare with.
    assert "the paper's batch: mean 3953.0, largest 4410.7" in mopo("data", "show", tmp_path / "data")[1]


def test_show(mopo: Mopo, dataset: Path, tmp_path: Path) -> None:
    """The card, where the files are and what wrote them, and a picture."""
    pytest.importorskip("matplotlib")
    code, out, err = mopo("data", "show", dataset, "--plot", tmp_path / "card.png")
    assert (code, err) == (0, "")
    assert out.startswith("transitions  100 in 2 episodes")
    assert "broken succession: 98 next observations" in out
    assert f"The dataset is in {dataset}, written with mopo-env " in out
    assert f"numpy {np.__version__}" in out
    assert out.splitlines()[-1] == f"Picture: {tmp_path / 'card.png'}"
    assert (tmp_path / "card.png").read_bytes().startswith(b"\x89PNG")


def test_show_compares_with_the_task_that_is_named(mopo: Mopo, dataset: Path, tmp_path: Path) -> None:
    """By the argument, by the option, or by the dataset's own metadata; with none of them, with nothing."""
    assert "the paper's batch" not in mopo("data", "show", dataset)[1]
    assert "the paper's batch: mean 3953.0" in mopo("data", "show", dataset, "--task", "halfcheetah-medium")[1]
    save_transitions(cheetah_data(), tmp_path / "mopo" / TASK)
    assert "the paper's batch: mean 2300.6" in mopo("data", "show", f"MOPO-{TASK}")[1]
    for entry in ("name", "task"):
        save_transitions(dataclasses.replace(cheetah_data(), metadata={entry: "halfcheetah-random"}), tmp_path / entry)
        assert "the paper's batch: mean -303.2" in mopo("data", "show", tmp_path / entry)[1]
    code, _, err = mopo("data", "show", dataset, "--task", "halfcheetah-mediun")
    assert code == 2
    assert "Did you mean 'halfcheetah-medium'" in err


def test_show_a_minari_dataset(mopo: Mopo) -> None:
    from mopo_env import save_minari

    within = dataclasses.replace(cheetah_data(), truncations=np.ones(100, dtype=bool))
    save_minari(within, "mopo/cheetah-v0")
    code, out, _ = mopo("data", "show", "mopo/cheetah-v0")
    assert code == 0
    assert "minari_version" in out
    assert "99 of 100 episodes have one step only" in out
    assert "The dataset is in" not in out


def test_the_output_can_be_cut_short() -> None:
    """`mopo … | head` must not end in a traceback; here nobody reads at all."""
    code = (
        "import sys; sys.argv = ['mopo', 'data', 'show', 'halfcheetah-mixed']\n"
        "from mopo_agents.cli.main import main\nsys.stdin.readline()\nmain()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert process.returncode == 141


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["data", "import-table", "--help"], ["tasks"]])
def test_help_answers_at_once(arguments: list[str]) -> None:
    """Importing torch takes seconds, which nobody wants to wait for help."""
    result = run_python(
        f"import sys; sys.argv = ['mopo', *{arguments!r}]\n"
        "from mopo_agents.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'stable_baselines3', 'mujoco', 'minari', 'jax', 'matplotlib', 'h5py'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    assert result.returncode == 0, result.stderr
    assert "mopo" in result.stdout.lower()


def test_a_mistake_in_a_shell_shows_no_traceback() -> None:
    """Once as a shell sees it, with its own process and exit code."""
    result = run_python(
        "import sys; sys.argv = ['mopo', 'evaluate', 'nowhere']\nfrom mopo_agents.cli.main import main\nmain()"
    )
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("mopo: nowhere/policy.json: no such file")
    assert "Traceback" not in result.stderr
