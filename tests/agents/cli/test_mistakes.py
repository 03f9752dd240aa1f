"""Mistakes on the command line: each ends in one sentence in the words that were typed, and writes nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.agents import halfcheetah_rows
from helpers.runs import TASK
from helpers.terminals import all_commands

from mopo_agents.cli.arguments import Command
from mopo_env.datasets.files import save_transitions

Mopo = Callable[..., tuple[int, str, str]]

# What was typed, and what the answer says.
MISTAKES = {
    "trian": "Did you mean train?",
    "data shw x": "Did you mean show?",
    "train": "TASK: found none",
    "train halfcheetah-mixd": "Did you mean 'halfcheetah-mixed'",
    f"train {TASK} --epoch 3": "--epoch: not known to `mopo train`. Did you mean --epochs",
    f"train {TASK} --epochs": "--epochs: found no value",
    f"train {TASK} --epochs x": "--epochs: found 'x', expected an integer",
    f"train {TASK} --epochs 0": "--epochs: expected an integer of at least 1",
    f"train {TASK} --penalty-coef x": "--penalty-coef: found 'x', expected a number",
    f"train {TASK} --penalty-coef 1 --mean-penalty 1": "--penalty-coef, --mean-penalty: found both",
    f"train {TASK} --precision float16": "--precision: found 'float16', expected bfloat16 or float32",
    f"train {TASK} --envelope yes": "--envelope: found 'yes', expected False or True",
    f"train {TASK} --agent SAK": "Did you mean 'SAC'",
    f"train {TASK} --method mopi": "Did you mean 'mopo'",
    f"train {TASK} --penalty ensemble-sdt": "Did you mean 'ensemble-std'",
    "train data --penalty nowhere:f": "--penalty: 'nowhere:f' cannot be imported: ModuleNotFoundError",
    "train data --penalty json:nothing": "--penalty: 'json:nothing' cannot be imported: AttributeError",
    "train data --real-env nowhere:Env-v0": "--real-env: Gymnasium cannot make the environment 'nowhere:Env-v0'",
    f"train {TASK} --agent BC --horizon 3": "--horizon: BC learns from the dataset alone",
    f"train {TASK} --agent-options learning_rat=1": "Did you mean 'learning_rate'",
    f"train {TASK} --agent-options learning_rate": "--agent-options: found 'learning_rate', expected NAME=VALUE",
    f"train {TASK} --agent-options use_sde=True": "--agent-options: found use_sde=True, expected use_sde=true",
    f"train {TASK} --agent-options tau=f()": "--agent-options: found tau=f(), expected a value",
    f"train {TASK} --agent-options seed=1": "--agent-options: found seed. Set it as an option of the run",
    "train data": "data --out FOLDER`, and name FOLDER as the dataset",
    "train --resume nowhere": "nowhere: found no config.json",
    "train --resume nowhere --epochs 3": "--resume: a resumed run keeps its options. Leave out --epochs",
    "train --from nowhere": "nowhere: no such file",
    "train data --device tpu": "--device: ",
    "fit": "DATASET must be given",
    "fit nowhere": "no dataset 'nowhere'",
    "fit data --num-elites 9": "--num-elites: 9 exceeds --num-members, 7",
    "fit data --hidden-sizes 8 --weight-decay 0": "--weight-decay: expected one number for each layer",
    "fit data --preset papr": "--preset: found 'papr', expected default or paper",
    "evaluate": "FOLDER must be given",
    "evaluate nowhere": "there is no policy in nowhere",
    "select": "no policy was scored",
    "report nowhere": "nowhere: found no config.json",
    "collect hopper-medium --behaviour-steps 10": "--behaviour-steps: found 10",
    "data import-d4rl x.hdf5": "--out PATH must be given",
    "data import-table x.csv --out m --observations a": "--actions STR [STR ...] and --reward STR must be given",
    "data show data --task hoper": "Did you mean 'hopper",
    "model show data": "mopo fit data",
    "model show data --penalty nearest-neighbour": "--penalty: is compared with the error on unseen rows",
    "sweep run nowhere.toml": "nowhere.toml: cannot be read as a plan",
    "push data data": "data: found something there",
    "push nowhere out": "nowhere: found no dataset, ensemble or policy",
    "pull nowhere out": "nowhere: no such folder",
    "pull hf://a out": "hf://a: expected hf://OWNER/NAME",
    "tasks x": "x: not known to `mopo tasks`",
}


@pytest.mark.parametrize("typed", MISTAKES)
def test_a_mistake_is_answered_in_its_own_words(typed: str, mopo: Mopo, tmp_path: Path) -> None:
    """A message that speaks Python, or tyro's private names, sends a user of the command line to the source."""
    save_transitions(halfcheetah_rows(), tmp_path / "data")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    code, out, err = mopo(*typed.split())
    assert (code, out) == (2, "")
    assert err.startswith("mopo: ")
    assert len(err.splitlines()) == 1
    assert MISTAKES[typed] in err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    said = err.replace(MISTAKES[typed], "")
    assert not re.search(r"tyro|dummy|_for\b|<class|\w\(\)|\b\d, \d", said)
    assert not re.search(r"(?<![\w'-])[a-z]+(_[a-z]+)+:", said)  # a name of Python, as in "penalty_coef: found"
    assert not re.search(r"\b[a-z_]+=(?![\d\[])", said)  # a keyword of Python, as in "pass dataset=FOLDER"


EVERY = pytest.mark.parametrize(
    ("words", "command"), list(all_commands()), ids=[" ".join(words) for words, _ in all_commands()]
)


@EVERY
def test_help_fits_the_terminal(
    words: tuple[str, ...], command: Command, mopo: Mopo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """80 columns, one line of summary, every option explained, and nothing of tyro's or Python's."""
    monkeypatch.setenv("COLUMNS", "80")
    code, out, err = mopo(*words, "--help")
    assert (code, err) == (0, "")
    assert out.startswith(f"usage: mopo {' '.join(words)}")
    assert [line for line in out.splitlines() if len(line) > 80] == []
    assert not re.search(r"tyro|dummy|\{None\}|epochs_for|\b\d, \d|default: None|config options", out)
    assert "--json" in out
    assert command.__annotations__["return"] != "None"  # it is what --json prints


@pytest.mark.parametrize("words", [["--help"], ["data"], []])
def test_overviews_fit_the_terminal(words: list[str], mopo: Mopo) -> None:
    code, out, err = mopo(*words)
    assert code == (0 if words == ["--help"] else 2)
    assert max(map(len, (out + err).splitlines())) <= 80
