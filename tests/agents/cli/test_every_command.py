"""What holds for every command: --json, --quiet, -v, --version; and `mopo`, `mopo doctor` and completion."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.agents import halfcheetah_rows
from helpers.runs import TASK, leave_run

import mopo_env
from mopo_agents.cli import doctor
from mopo_agents.cli.messages import as_json
from mopo_env._utils.progress import PlainLines, progress_bar
from mopo_env.datasets.files import save_transitions

Mopo = Callable[..., tuple[int, str, str]]

TINY_RUN = ["--epochs=1", "--gradient-steps=1", "--rollout-batch-size=8", "--score-every=0"]
TINY_FIT = ["--max-epochs=1", "--hidden-sizes", "8", "--num-members=2", "--num-elites=1"]


def result_of(mopo: Mopo, *arguments: object) -> Any:
    """Return what a command prints with --json: standard output holds that and nothing else."""
    code, out, _ = mopo(*arguments, "--json")
    assert code == 0
    return json.loads(out)


def test_json_on_every_kind_of_command(mopo: Mopo, without_ensemble: Path, tmp_path: Path) -> None:
    """From data to a report, a script reads each result without a regular expression."""
    assert {row["id"] for row in result_of(mopo, "tasks")} == {task.id for task in mopo_env.TASKS.values()}
    assert "ours" in [row["name"] for row in result_of(mopo, "methods")]
    assert result_of(mopo, "data", "show", without_ensemble)["card"]["rows"] == 100
    fitted = result_of(mopo, "fit", without_ensemble, "--out", "data", *TINY_FIT)
    assert (fitted["folder"], fitted["config"]["hidden_sizes"]) == ("data", [8])
    assert fitted["config"]["weight_decay"] == [2.5e-5, 1e-4]
    assert len(result_of(mopo, "model", "show", "data")["card"]["columns"]) == 18
    run = result_of(mopo, "train", "data", *TINY_RUN)
    assert (run["epochs"], run["updates"], run["evaluations"]) == (1, 1, [])
    assert json.loads((Path(run["folder"]) / "result.json").read_text())["updates"] == 1
    leave_run(tmp_path / "runs" / "other")
    report = result_of(mopo, "report", "runs")
    assert [row["seeds"] for row in report["rows"]] == [1, 1]
    assert result_of(mopo, "cache", "list") == []
    assert result_of(mopo, "cache", "path") == str(tmp_path / "cache")
    assert result_of(mopo, "--version") == {"mopo-env": mopo_env.__version__}


def test_quiet_leaves_results_and_errors(mopo: Mopo, dataset: Path) -> None:
    code, out, err = mopo("train", dataset, *TINY_RUN, "--quiet")
    assert (code, err) == (0, "")
    assert "Policy, logs and result.json are in" in out
    assert mopo("train", dataset, *TINY_RUN, "-q", "--json")[2] == ""
    assert mopo("fit", "nowhere", "-q")[2].startswith("mopo: no dataset 'nowhere'")
    code, out, err = mopo("train", dataset, *TINY_RUN, "-v")
    assert "mopo: mopo train took " in err
    assert "\n  gradient_steps = 1\n" in err


def test_progress_without_a_terminal_is_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bars redraw themselves with carriage returns, which fill a log file with rubbish."""
    for name, expected in (("", "fit: 3 of 4 epochs, 0 s, score 2\n"), ("1", "")):
        monkeypatch.setattr(sys, "stderr", io.StringIO())
        monkeypatch.setenv("TQDM_DISABLE", name)
        with progress_bar(total=4, desc="fit", unit="epoch", show=True) as bar:
            assert isinstance(bar, PlainLines) == (not name)
            bar.set_postfix({"score": "2"})
            bar.update(3)
        assert sys.stderr.getvalue() == expected  # type: ignore[attr-defined]


def test_json_is_strict() -> None:
    """NaN is no JSON, and a control character of a file could change the terminal."""
    assert json.loads(as_json({"a": float("nan"), "b": [float("inf"), Path("x")]})) == {"a": None, "b": [None, "x"]}
    assert as_json("\x9b31m\u202e").isascii()


def test_doctor_finds_nothing(mopo: Mopo, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The self-test is a real fit and a real epoch; drawing is left out, since a test machine may not be able to."""
    save_transitions(halfcheetah_rows(), tmp_path / "bundled" / TASK)
    checks = {name: check for name, check in doctor._CHECKS.items() if name != "rendering"}
    monkeypatch.setattr(doctor, "_CHECKS", checks)
    code, out, _ = mopo("doctor")
    assert code == 0, out
    assert "trained SAC in it for one epoch" in out
    assert out.splitlines()[-1] == "No problems found."


def test_doctor_says_what_to_do(mopo: Mopo, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Exit code 1, the other checks go on, and JSON holds the same."""
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(doctor, "cache_folder", lambda: tmp_path / "file" / "cache")
    monkeypatch.setattr(doctor, "_CHECKS", {"broken": lambda: 1 / 0, "folders": doctor._folders})
    code, out, _ = mopo("doctor", "--json")
    found = json.loads(out)
    assert code == 1
    assert [line["ok"] for line in found] == [False, True, False, True]
    assert found[0]["text"] == "ZeroDivisionError: division by zero"
    assert "set MOPO_CACHE_PATH to another folder" in found[2]["text"]


def test_completion_in_bash(mopo: Mopo, tmp_path: Path) -> None:
    """The script of the documentation, in a real shell: commands, options and choices."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash")
    code, script, _ = mopo("completion", "bash")
    assert code == 0
    (tmp_path / "mopo.bash").write_text(script)

    def completed(*words: str) -> set[str]:
        array, line = " ".join(words), " ".join(words)
        code = f"source mopo.bash; COMP_WORDS=({array}); COMP_CWORD={len(words) - 1}; COMP_LINE='{line}'; "
        code += "_tyro_mopo mopo; printf '%s\\n' \"${COMPREPLY[@]}\""
        shell = subprocess.run([bash, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True)
        return set(shell.stdout.split())

    assert completed("mopo", "tr") == {"train"}
    assert {"--penalty", "--penalty-coef"} <= completed("mopo", "train", "--pen")
    assert completed("mopo", "data", "sh") == {"show"}


@pytest.mark.filterwarnings("ignore:You have specified a mini-batch size")
def test_a_run_like_another(mopo: Mopo, dataset: Path, tmp_path: Path) -> None:
    """--from takes every option, those beside it come first, also where they are the default; --help shows them."""
    folder = tmp_path / "first"
    options = ["--seed=3", "--penalty-coef=2", "--agent-options", "learning_rate=1e-4", "net_arch=[16,8]"]
    assert mopo("train", dataset, *TINY_RUN, *options, "--out", folder)[0] == 0
    first = json.loads((folder / "config.json").read_text())
    assert first["agent_options"] == {"learning_rate": 1e-4, "net_arch": [16, 8]}
    assert mopo("train", "--from", folder / "config.json", "--out", "same")[0] == 0
    assert mopo("train", "--from", folder, "--seed", 0, "--out", "seed")[0] == 0
    assert mopo("train", "--from", folder, "--agent", "PPO", "--out", "ppo")[0] == 0
    same, seed, ppo = (json.loads((Path(name) / "config.json").read_text()) for name in ("same", "seed", "ppo"))
    assert same == first
    assert (seed["seed"], seed["identity"]) == (0, first["identity"])
    assert (ppo["agent"], ppo["penalty_coef"], ppo["agent_options"], ppo["gradient_steps"]) == ("PPO", 2, {}, None)
    assert "(default: 2.0)" in " ".join(mopo("train", "--from", folder, "--help")[1].split())
    assert mopo("train", "--from", "first", "--resume", "first")[0] == 2


CODE = "def penalty(prediction):\n    return 0.0 * prediction.observations[:, 0] + {value}\n"


def test_code_by_name(mopo: Mopo, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Typed, it is imported. A file alone imports nothing, and the run knows when the code has changed."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    path = tmp_path / "my_penalty_of_the_test.py"
    path.write_text(CODE.format(value=1.0))
    named = ["--penalty", f"{path.stem}:penalty"]
    command = ["train", dataset, *TINY_RUN, *named]
    assert mopo(*command, "--out", "run")[0] == 0
    record = json.loads(Path("run/config.json").read_text())
    assert (record["penalty"], len(record["penalty_source"])) == (named[1], 64)
    Path("run/result.json").unlink()
    path.write_text("raise SystemExit('this file was imported')")
    monkeypatch.delitem(sys.modules, path.stem)
    for option in ("--resume", "--from"):
        code, _, err = mopo("train", option, "run")
        assert (code, f"Name it again: --penalty {named[1]}" in err) == (2, True)
    assert path.stem not in sys.modules
    path.write_text(CODE.format(value=2.0))
    code, _, err = mopo("train", "--resume", "run", *named)
    assert (code, "penalty_source: begun with" in err) == (2, True)
    path.write_text(CODE.format(value=1.0))
    monkeypatch.delitem(sys.modules, path.stem)
    assert mopo("train", "--resume", "run", *named)[0] == 0
    code, _, err = mopo("train", "--resume", "run", "--penalty", "other:f")
    assert code == 2


def test_a_real_env_of_ones_own(mopo: Mopo, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`module:Env-v0` is what Gymnasium's own ids look like; its registry alone does not know it."""
    pytest.importorskip("mujoco")
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "my_env_of_the_test.py").write_text(
        "import gymnasium\ngymnasium.register('OfTheTest-v0', max_episode_steps=5, "
        "entry_point='gymnasium.envs.mujoco.half_cheetah_v5:HalfCheetahEnv')\n"
    )
    own = ["--real-env", "my_env_of_the_test:OfTheTest-v0"]
    code, out, err = mopo("train", dataset, *TINY_RUN, "--evaluation-episodes=1", *own, "--out", "run")
    assert (code, "policy, mean of 1 episodes" in out) == (0, True), err
    assert result_of(mopo, "evaluate", "run", *own, "--episodes", 2)["lengths"] == [5, 5]


def test_the_preset_gives_way_to_an_option_with_the_default_value(mopo: Mopo, without_ensemble: Path) -> None:
    """`--schedule cosine` beside the paper's preset was ignored, because it is what a fit does anyway."""
    fitted = result_of(mopo, "fit", without_ensemble, "--out", "a", *TINY_FIT, "--preset=paper", "--schedule=cosine")
    assert (fitted["config"]["schedule"], fitted["config"]["batch_size"]) == ("cosine", 256)


def test_the_first_word_is_enough_to_be_helped(mopo: Mopo) -> None:
    """Every command that `mopo` alone names exists."""
    _, _, err = mopo()
    for command in ("mopo train", "mopo data import-table", "mopo report", "mopo doctor"):
        assert command in err
        assert mopo(*command.split()[1:], "--help")[0] == 0
    assert TASK in err
