"""The command line: from data to a policy in three commands, and mistakes that end in one readable sentence."""

from __future__ import annotations

import csv
import dataclasses
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
from helpers.agents import halfcheetah_rows
from helpers.drawing import CAN_DRAW
from helpers.runs import TASK, leave_run
from PIL import Image

from mopo_agents.cli import main as cli
from mopo_agents.collection.config import CollectConfig
from mopo_agents.collection.episodes import EpisodeRunner
from mopo_agents.evaluation import evaluate
from mopo_agents.policies import load_policy
from mopo_agents.runs.config import TrainConfig
from mopo_agents.runs.methods import METHODS
from mopo_agents.trust.fqe import fitted_q_evaluation
from mopo_env.datasets.files import load_transitions, save_transitions
from mopo_env.models.fit_config import FitConfig
from mopo_env.tasks import TASKS
from mopo_env.transitions import Episode, Transitions

TINY_FIT = ["--max-epochs=1", "--hidden-sizes", "8", "--weight-decay", "0", "0", "--num-members=2", "--num-elites=1"]
TINY_RUN = ["--epochs=1", "--gradient-steps=1", "--rollout-batch-size=8", "--evaluation-episodes=1", "--seed=2"]

COLUMNS = ["--observations", "pos", "vel", "--actions", "u", "--reward", "r"]

Mopo = Callable[..., tuple[int, str, str]]


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
        assert line.endswith("none yet")
    assert "`mopo collect TASK`" in out
    assert max(map(len, out.splitlines())) <= 80


def test_tasks_says_where_data_are(mopo: Mopo, tmp_path: Path) -> None:
    """Bundled data come first; the rest lies where MOPO_DATASETS_PATH says."""
    save_transitions(halfcheetah_rows(), tmp_path / "bundled" / "hopper-mixed")
    save_transitions(halfcheetah_rows(), tmp_path / "mopo" / TASK)
    _, out, _ = mopo("tasks")
    ends = {line.split()[0]: line for line in out.splitlines() if line}
    assert ends["MOPO-hopper-mixed"].endswith(" bundled")
    assert ends[f"MOPO-{TASK}"].endswith(" collected")
    assert ends[f"MOPO-{TASK}:"].endswith(str(tmp_path / "mopo" / TASK))


@pytest.mark.parametrize(
    ("command", "config"), [("train", TrainConfig), ("collect", CollectConfig), ("fit", FitConfig)]
)
def test_help_mentions_every_option(mopo: Mopo, command: str, config: Any) -> None:
    """An option of a configuration is one of the command line, under the same name."""
    code, out, _ = mopo(command, "--help")
    assert code == 0
    assert f"usage: mopo {command}" in out
    for field in dataclasses.fields(config):
        assert f"--{field.name.replace('_', '-')}" in out or field.name == "task"


MORE = [*COLUMNS, "--out", "m"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["collect", "hopper-medium", "--behaviour-steps", "10"], "--behaviour-steps: found 10"),
        (["train", "hopper-mixd"], "Did you mean 'hopper-mixed'"),
        (["fit", "nowhere"], "no dataset 'nowhere'"),
        (["evaluate", "nowhere"], "there is no policy in nowhere"),
        (
            ["evaluate", "nowhere", "--video", "a.avi"],
            "a.avi: expected a video that ends in .mp4 or .gif",
        ),
        (["report", "nowhere"], "nowhere: found no config.json, expected a training run"),
        (["train", TASK], "mopo collect halfcheetah-mixed"),
        (["train", TASK, "--method", "bc", "--horizon", "3"], "--horizon: BC learns from the dataset alone"),
        (["data", "import-d4rl", "nowhere.hdf5", "--out", "model"], "nowhere.hdf5: no such file"),
        (["data", "import-table", "nowhere.csv", *MORE], "nowhere.csv: no such file"),
        (["data", "import-table", "x.csv", *MORE, "--action-low", "1", "1"], "--action-low: found 2"),
        (["data", "import-table", "x.csv", *MORE, "--action-low", "1"], "finite low below high"),
        (["data", "import-table", "x.csv", *MORE, "--discrete-actions", "0"], "--discrete-actions: expected"),
        (
            ["data", "import-table", "x.csv", *MORE, "--discrete-actions", "2", "--action-low", "1"],
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
        (["train", TASK, "--epochs", "0"], "--epochs: expected an integer of at least 1, found 0"),
        (["train", TASK, "--penalty-coeff", "2"], "--penalty-coeff"),
        (
            ["train", TASK, "--agent-options", "{learning_rate: 1}"],
            "--agent-options: found {learning_rate: 1}, expected JSON",
        ),
        (["fit", "data", "--num-elites", "9"], "--num-elites: 9 exceeds --num-members, 7"),
        (["collect"], "TASK must be given"),
        (["data", "import-d4rl", "file.hdf5"], "--out"),
        ([], "mopo data import-table"),
    ],
)
def test_wrong_arguments_are_refused(mopo: Mopo, arguments: list[str], expected: str) -> None:
    code, out, err = mopo(*arguments)
    assert (code, out) == (2, "")
    assert expected in flat(err)
    assert "Traceback" not in err


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_an_interruption_ends_quietly_and_a_bug_does_not(
    mopo: Mopo, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    """130 is what shells expect of an interrupted command. A bug must show its traceback, or it cannot be reported."""

    def broken(*args: Any, **options: Any) -> None:
        raise error

    monkeypatch.setattr(cli, "_run", broken)
    if error is KeyboardInterrupt:
        assert mopo("tasks") == (130, "", "mopo: interrupted\n")
    else:
        with pytest.raises(error):
            mopo("tasks")


def test_a_policy_is_judged_without_a_simulator(mopo: Mopo, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A conformal λ is found and recorded. The report names what the bound takes; no evaluation is written."""

    def quick(*given: Any, **options: Any) -> Any:
        return fitted_q_evaluation(*given, **{**options, "num_updates": 2})

    monkeypatch.setattr("mopo_agents.trust.offline.fitted_q_evaluation", quick)
    assert mopo("fit", data, *TINY_FIT)[0] == 0
    options = ("--penalty-coef", "conformal", "--evaluate-every", 0)
    code, _, err = mopo("train", TASK, "--dataset", data, *TINY_RUN, *options)
    assert (code, "found no bound with coverage 0.9 on 20 rows" in err) == (2, True), "29 would do"
    save_transitions(halfcheetah_rows(200), data)
    assert mopo("fit", data, *TINY_FIT, "--overwrite")[0] == 0
    assert mopo("train", TASK, "--dataset", data, *TINY_RUN, *options)[0] == 0
    folder = Path("runs") / f"{TASK}-SAC-seed2"
    record = json.loads((folder / "config.json").read_text())
    assert record["penalty_coef"] == "conformal"
    assert record["lambda"] > 0
    code, out, _ = mopo("evaluate", folder, "--offline")
    assert code == 0
    assert "The bound holds if all of these do:" in out
    assert not list(folder.glob("evaluation-*"))
    code, _, err = mopo("evaluate", folder, "--offline", "--real-env", "Hopper-v5")
    assert (code, "--offline" in err) == (2, True)


def test_from_data_to_a_policy(mopo: Mopo, data: Path, tmp_path: Path) -> None:
    """Fit, train, evaluate: each says where its result lies and what comes next, and the next accepts it."""
    pytest.importorskip("mujoco")
    code, out, err = mopo("fit", data, *TINY_FIT)
    assert (code, "Traceback" in err) == (0, False)
    assert out.splitlines()[-1] == f"Dataset and ensemble are in {data}. Next: mopo train {data}"
    assert (data / "ensemble.json").is_file()

    code, out, err = mopo("train", TASK, "--dataset", data, *TINY_RUN)
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
    assert (code, f"MOPO-{TASK} in HalfCheetah-v4, 1 episodes: return " in out) == (0, True)
    assert (folder / f"evaluation-{TASK}-HalfCheetah-v4-seed0.json").is_file()

    if CAN_DRAW:
        video = ["--video", "run.gif", "--video-seconds", 0.1]
        code, out, err = mopo("evaluate", folder, "--episodes", 1, "--seed", 8, *video)
        assert (code, err) == (0, "")
        assert out.splitlines()[-1] == "The video is run.gif: real on the left, the model on the right."
        with Image.open("run.gif") as image:
            assert (image.size, image.n_frames) == ((640, 320), 3)  # type: ignore[attr-defined]  # steps 0, 1 and 2

    # The same command again is a new run in a new folder; its agent can have options of its own.
    options = ["--evaluate-every=0", "--agent-options", '{"learning_rate": 1e-4}']
    code, out, _ = mopo("train", TASK, "--dataset", data, *TINY_RUN, *options)
    assert code == 0
    assert out.splitlines()[-1].startswith(f"Policy, logs and result.json are in {folder}-2.")
    assert json.loads((Path(f"{folder}-2") / "config.json").read_text())["agent_options"] == {"learning_rate": 1e-4}


def test_methods_lists_every_method(mopo: Mopo) -> None:
    """What each sets, and what the paper says of it."""
    code, out, _ = mopo("methods")
    assert code == 0
    assert max(map(len, out.splitlines())) <= 80
    words = " ".join(out.split())
    for method in METHODS.values():
        (line,) = [line for line in out.splitlines() if line.startswith(f"{method.name} ")]
        assert method.title in line
        assert f" {method.paper_returns.get('halfcheetah-mixed', '–')} " in line
        for name, value in {**method.fit, **method.train}.items():
            assert f"{name}={value}" in words
    assert words.count("no model") == sum(method.model_free for method in METHODS.values())
    assert "mopo train TASK --method METHOD" in words


def test_a_report_of_two_methods(mopo: Mopo, tmp_path: Path) -> None:
    """Two seeds of one, one of the other, an unfinished run; one table, and the same as CSV."""
    for seed in (0, 1):
        leave_run(tmp_path / "runs" / f"mbpo-{seed}", method="mbpo", seed=seed)
    leave_run(tmp_path / "runs" / "mopo")
    (tmp_path / "runs" / "broken").mkdir()
    (tmp_path / "runs" / "broken" / "config.json").write_text("{}")
    code, out, err = mopo("report", "--csv", tmp_path / "table.csv")
    assert code == 0
    assert err == (
        "left out: runs/broken: the run is unfinished, there is no result.json. `mopo train --resume runs/broken` "
        "continues it.\n"
    )
    lines = [line.split()[:2] for line in out.splitlines() if line[:4] in ("mopo", "mbpo")]
    assert lines == [["mopo", "1"], ["mbpo", "2"]]
    with (tmp_path / "table.csv").open(newline="") as stream:
        assert [row["seeds"] for row in csv.DictReader(stream)] == ["1", "2"]
    assert f"All columns are in {tmp_path / 'table.csv'}." in out


def test_a_report_as_picture_and_page(mopo: Mopo, tmp_path: Path) -> None:
    """Beside the table; an existing file is kept, and without evaluations there are no curves, but there is a page."""
    pytest.importorskip("matplotlib")
    leave_run(tmp_path / "evaluated")
    leave_run(tmp_path / "alone", returns=(), task="/data/pump")
    png, html = tmp_path / "curves.png", tmp_path / "page.html"
    code, out, _ = mopo("report", "evaluated", "alone", "--png", png, "--html", html)
    assert code == 0
    assert out.splitlines()[-2:] == [f"The learning curves are in {png}.", f"The page is {html}."]
    assert png.read_bytes().startswith(b"\x89PNG")
    assert html.read_text().startswith("<!DOCTYPE html>")
    code, _, err = mopo("report", "evaluated", "--html", html)
    assert (code, err) == (
        2,
        f"mopo: --html: {html} exists already. Choose another file, or pass --overwrite to replace it.\n",
    )
    code, _, err = mopo("report", "alone", "--png", "other.png", "--html", "other.html")
    assert (code, err) == (2, "mopo: --png: no run was evaluated, so there are no learning curves. Leave it out.\n")
    assert not (tmp_path / "other.html").exists()


def test_a_report_of_nothing_is_refused(mopo: Mopo, tmp_path: Path) -> None:
    """A table without rows would look like a result."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{}")
    code, out, err = mopo("report", "run", "--csv", "table.csv")
    assert (code, out) == (2, "")
    assert err.splitlines()[-1] == "mopo: RUN: found 1, but none of them can be reported."
    assert not (tmp_path / "table.csv").exists()
    assert mopo("report")[0] == 2


def test_collect_writes_where_the_id_looks(mopo: Mopo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then `mopo fit TASK` needs no path. The collecting itself is replaced: it has tests of its own."""
    asked: dict[str, Any] = {}

    def collect(config: CollectConfig, *, folder: Path, overwrite: bool) -> Transitions:
        asked.update(config=config, folder=folder)
        return halfcheetah_rows()

    monkeypatch.setattr("mopo_agents.collection.recipes.collect", collect)
    code, out, _ = mopo("collect", TASK, "--steps", 100, "--seed", 3, "--workers", 2, "--threshold", 9.5)
    folder = tmp_path / "mopo" / TASK
    assert code == 0
    expected = CollectConfig(task=TASK, steps=100, seed=3, workers=2, threshold=9.5)
    assert asked == {"config": expected, "folder": folder}
    assert out.splitlines()[0].startswith("100 transitions in 2 episodes; episode returns: mean ")
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
    assert f"the work so far is in {tmp_path / 'data'}; the same command resumes it" in err
    assert "Traceback" not in err
    assert mopo(*command, tmp_path / "data")[0] == 0
    assert mopo(*command, tmp_path / "straight")[0] == 0
    fingerprints = [load_transitions(tmp_path / name).fingerprint for name in ("data", "straight")]
    assert fingerprints[0] == fingerprints[1]


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
