"""`mopo fit` and `mopo fit-termination`, and what follows them with a user's own data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from helpers.agents import FELL, halfcheetah_rows
from helpers.runs import TASK
from helpers.thermal_log import thermal_log

from mopo_agents.policies import load_policy
from mopo_env._utils.store import read_artifact
from mopo_env.datasets.files import load_transitions, save_transitions
from mopo_env.datasets.minari.reader import save_minari
from mopo_env.models.ensemble import GaussianEnsemble, save_ensemble
from mopo_env.toys import LinearGaussianSystem

TINY_FIT = ["--max-epochs=1", "--hidden-sizes", "8", "--weight-decay", "0", "0", "--num-members=2", "--num-elites=1"]


TINY_RULE = ["--max-epochs=3", "--hidden-sizes", "8", "--num-members=2"]


B = 16


Mopo = Callable[..., tuple[int, str, str]]


def test_a_fit_says_what_is_wrong_with_the_model(mopo: Mopo, tmp_path: Path) -> None:
    """A log in °C and Pa, fitted in raw units, once ended happily with a model that was of no use."""
    save_transitions(thermal_log(), tmp_path / "log")
    widths = ["--hidden-sizes", "32", "32", "--weight-decay", "0", "0", "0"]
    small = [*widths, "--num-members=3", "--num-elites=2"]
    code, out, _ = mopo("fit", tmp_path / "log", *small, "--preset=paper", "--out", tmp_path / "paper")
    assert code == 0
    assert "! the predicted standard deviation of 'observation 2' is" in out

    code, out, _ = mopo("fit", tmp_path / "log", *small)
    assert [line for line in out.splitlines() if line.startswith("!")] == [
        "! 'observation 2' has 100.00% of the predicted variance, so the penalty sees nothing else. Use a penalty in "
        "normalised units."
    ]
    code, out, _ = mopo("model", "show", tmp_path / "log", "--units", "normalised")
    assert code == 0
    assert out.splitlines()[-1] == "Nothing looks wrong."


def test_an_ensemble_that_cannot_be_judged_says_so(mopo: Mopo, tmp_path: Path) -> None:
    """Without the rows that its fit never saw a card would praise memory."""
    transitions = thermal_log(rows=200)
    ensemble = GaussianEnsemble(3, 1, num_members=2, hidden_sizes=(4,))
    ensemble.metadata = {"dataset_fingerprint": transitions.fingerprint}
    save_transitions(transitions, tmp_path)
    save_ensemble(ensemble, tmp_path)
    code, _, err = mopo("model", "show", tmp_path)
    assert code == 2
    assert err == "mopo: the ensemble does not say which rows its fit never saw. Fit it again with `mopo fit`.\n"


def test_given_options_come_before_the_presets(mopo: Mopo, tmp_path: Path) -> None:
    """The paper's way with another batch is the paper's way with another batch."""
    save_transitions(thermal_log(rows=200), tmp_path)
    assert mopo("fit", tmp_path, *TINY_FIT, "--preset=paper", "--batch-size=64")[0] == 0
    config = read_artifact(tmp_path, "ensemble")[1]["config"]
    assert (config["schedule"], config["beta"], config["scale_targets"]) == ("constant", 0.0, False)
    assert (config["batch_size"], config["max_epochs"]) == (64, 1)


def test_from_a_log_to_a_policy(mopo: Mopo, cart: Path) -> None:
    """Each command ends with the next one, no task is named, and nothing is evaluated that cannot be."""
    code, out, _ = mopo("fit", cart, *TINY_FIT, "--overwrite")
    assert out.splitlines()[-2].startswith(f"{FELL} of ")
    assert f"`mopo fit-termination {cart}`" in out
    assert out.splitlines()[-1] == f"Dataset and ensemble are in {cart}. Next: mopo train {cart}"

    code, out, err = mopo("train", cart, "--epochs=2", "--gradient-steps=1", f"--rollout-batch-size={B}")
    assert code == 0
    lines = err.splitlines()
    assert lines[0] == (
        "cart: h = 5, λ = 1, termination: never, real environment: none, so the policy is not evaluated"
    )
    assert lines[1].startswith(f"{FELL} of ")
    assert "no rollout will" in lines[1]
    assert lines[2].startswith("SAC: rollouts by mopo_agents in batches, updates by mopo_agents")
    lines = out.splitlines()
    assert [line.split("|")[1].strip() for line in lines[:5]] == [
        "cart",
        "---",
        "dataset",
        "model, first epoch",
        "model, epoch 2",
    ]
    assert lines[5].startswith("The policy was not evaluated")
    assert lines[-1] == "Policy, logs and result.json are in runs/cart-SAC-seed0."
    action, _ = load_policy(Path("runs/cart-SAC-seed0")).predict(np.array([100.0, 0.5], np.float32), deterministic=True)
    assert action.shape == (1,)

    code, out, _ = mopo("fit-termination", cart, *TINY_RULE)
    assert code == 0
    test = read_artifact(cart, "termination")[1]["test"]
    assert (
        f"{test['rows']:,} rows, {test['terminal_rows']:,} of them terminal: precision {test['precision']:.3f}, "
        f"recall {test['recall']:.3f}, F1 {test['f1']:.3f}"
    ) in out
    right = 1 - test["terminal_rows"] / test["rows"]
    assert f"A rule that predicts no terminal row has F1 0 and is right in {right:.1%} of the rows." in out
    assert out.splitlines()[-1] == f"The termination rule is in {cart}. Next: mopo train {cart} --termination learned"
    code, _, err = mopo("train", cart, "--epochs=1", "--gradient-steps=1", f"--rollout-batch-size={B}")
    assert "termination: learned" in err.splitlines()[0]
    assert "no rollout will" not in out


def test_a_hint_for_data_that_a_task_has_a_rule_for(mopo: Mopo, cart: Path, tmp_path: Path) -> None:
    """Data that `mopo collect` wrote know their task, and its analytic rule is better than a learned one."""
    transitions = replace(load_transitions(cart), metadata={"name": "hopper-mixed"})
    assert transitions.terminations.any()
    save_transitions(transitions, tmp_path / "data")
    _, out, _ = mopo("fit", tmp_path / "data", *TINY_FIT)
    assert out.splitlines()[-1].endswith(f"Next: mopo train hopper-mixed --dataset {tmp_path / 'data'}")
    assert "fit-termination" not in out


def test_a_rule_needs_a_folder(mopo: Mopo, cart: Path, tmp_path: Path) -> None:
    """A Minari dataset has none of ours."""
    save_minari(load_transitions(cart), "plant/cart-v0")
    code, _, err = mopo("fit-termination", "plant/cart-v0", *TINY_RULE)
    assert code == 2
    assert "--out: expected a folder" in err
    assert mopo("fit-termination", "plant/cart-v0", "--out", tmp_path / "rule", *TINY_RULE)[0] == 0
    files = [path.name.split("-")[0] for path in (tmp_path / "rule").iterdir()]
    assert sorted(files) == ["termination", "termination.json"]


def test_data_without_terminal_states_teach_no_rule(mopo: Mopo, tmp_path: Path) -> None:
    """One sentence that says what to do instead."""
    save_transitions(LinearGaussianSystem().transitions(num_episodes=4, num_steps=5, seed=0), tmp_path / "data")
    code, out, err = mopo("fit-termination", tmp_path / "data")
    assert (code, out) == (2, "")
    assert err.startswith("mopo: terminations: found 0 episodes that end in a terminal state")
    assert not (tmp_path / "data" / "termination.json").exists()


def test_fit_writes_dataset_and_ensemble_elsewhere(mopo: Mopo, data: Path, tmp_path: Path) -> None:
    """One folder then holds all that training needs, and the source is as it was."""
    code, out, _ = mopo("fit", data, "--out", tmp_path / "model", *TINY_FIT)
    assert code == 0
    assert f"Dataset and ensemble are in {tmp_path / 'model'}." in out
    assert load_transitions(tmp_path / "model").fingerprint == load_transitions(data).fingerprint
    assert (tmp_path / "model" / "ensemble.json").is_file()
    assert not (data / "ensemble.json").exists()


def test_fit_of_a_collected_task_writes_beside_its_data(mopo: Mopo, tmp_path: Path) -> None:
    """So that `gymnasium.make` of the id finds both."""
    save_transitions(halfcheetah_rows(), tmp_path / "mopo" / TASK)
    code, _, _ = mopo("fit", TASK, *TINY_FIT)
    assert code == 0
    assert (tmp_path / "mopo" / TASK / "ensemble.json").is_file()


def test_fit_does_not_write_into_the_package(mopo: Mopo, tmp_path: Path) -> None:
    """Bundled data are shared by all users of a machine, and part of a checksum of pip's."""
    bundled = tmp_path / "bundled" / TASK
    save_transitions(halfcheetah_rows(), bundled)
    before = sorted(path.name for path in bundled.iterdir())
    for name in (TASK, f"MOPO-{TASK}"):
        code, _, err = mopo("fit", name, *TINY_FIT)
        assert code == 2
        assert err.startswith("mopo: --out: expected a folder")
    assert sorted(path.name for path in bundled.iterdir()) == before
    code, _, _ = mopo("fit", TASK, "--out", tmp_path / "model", *TINY_FIT)
    assert code == 0


def test_own_data_with_a_baseline_on_the_command_line(mopo: Mopo, without_ensemble: Path) -> None:
    """No ensemble, no real environment: the table says what is known, and does not speak of a model."""
    code, out, err = mopo("train", without_ensemble, "--agent", "bc", "--epochs=1", "--gradient-steps=2")
    assert code == 0
    label = without_ensemble.name
    assert err.splitlines()[0] == (
        f"{label}: BC learns from the dataset alone, real environment: none, so the policy is not evaluated"
    )
    assert [line.split("|")[1].strip() for line in out.splitlines()[:3]] == [label, "---", "dataset"]
    assert out.splitlines()[3:] == [
        "The policy was not evaluated, because there is no real environment.",
        f"Policy, logs and result.json are in runs/{label}-bc-seed0.",
    ]
