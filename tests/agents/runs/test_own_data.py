"""Data of one's own from a file to a policy: by the command line, with no task, and with or without an environment."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.runs import run as small_run

from mopo_agents.evaluation import evaluate
from mopo_agents.policies import load_policy
from mopo_agents.runs.train import TrainResult
from mopo_agents.sb3.standardise import Standardise
from mopo_env._utils.store import read_artifact
from mopo_env.datasets.files import load_transitions, save_transitions
from mopo_env.datasets.minari.reader import save_minari
from mopo_env.errors import ConfigError, SpaceMismatchError, StoreError, UnknownNameError
from mopo_env.terminations import hopper
from mopo_env.terminations.learned import LearnedTermination, save_termination
from mopo_env.toys import LinearGaussianSystem

TINY_FIT = ["--max-epochs=1", "--hidden-sizes", "8", "--weight-decay", "0", "0", "--num-members=2", "--num-elites=1"]
TINY_RULE = ["--max-epochs=3", "--hidden-sizes", "8", "--num-members=2"]
B = 16
Mopo = Callable[..., tuple[int, str, str]]
FELL = 25  # of the 30 runs that `write_log` writes


def write_log(path: Path) -> Path:
    """Write 30 runs of a cart, most of which end at the edge; the columns have units of their own."""
    random = np.random.default_rng(0)
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["run", "mm", "speed", "push", "pay", "mm_after", "speed_after", "fell"])
        for run in range(30):
            place, speed = random.uniform(-600, 600), 0.0
            for _ in range(20):
                push = random.uniform(-1, 1)
                following, faster = place + 300 * speed + random.normal(0, 60), 0.5 * speed + push
                fell = int(abs(following) > 1000)
                writer.writerow([run, place, speed, push, 1.0 - abs(place) / 1000, following, faster, fell])
                if fell:
                    break
                place, speed = following, faster
    return path


@pytest.fixture
def folder(mopo: Mopo, tmp_path: Path) -> Path:
    """A folder with an imported log and an ensemble."""
    columns = ["--observations", "mm", "speed", "--next-observations", "mm_after", "speed_after", "--actions", "push"]
    labels = ["--reward", "pay", "--terminated", "fell", "--episode", "run"]
    log = write_log(tmp_path / "cart.csv")
    assert mopo("data", "import-table", log, *columns, *labels, "--out", tmp_path / "cart")[0] == 0
    assert mopo("fit", tmp_path / "cart", *TINY_FIT)[0] == 0
    return tmp_path / "cart"


def run(data: Path, **changes: Any) -> TrainResult:
    options = {"gradient_steps": 1, "rollout_batch_size": B, "dataset": None, "task": str(data), "evaluate_every": 10}
    return small_run(data, Path("run"), **{**options, **changes})


def test_from_a_log_to_a_policy(mopo: Mopo, folder: Path) -> None:
    """Each command ends with the next one, no task is named, and nothing is evaluated that cannot be."""
    code, out, _ = mopo("fit", folder, *TINY_FIT)
    assert out.splitlines()[-2].startswith(f"{FELL} of ")
    assert f"`mopo fit-termination {folder}`" in out
    assert out.splitlines()[-1] == f"Dataset and ensemble are in {folder}. Next: mopo train {folder}"

    code, out, _ = mopo("train", folder, "--epochs=2", "--gradient-steps=1", f"--rollout-batch-size={B}")
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == (
        "cart: h = 5, λ = 1, termination: never, real environment: none, so the policy is not evaluated"
    )
    assert lines[1].startswith(f"{FELL} of ")
    assert "no rollout will" in lines[1]
    assert lines[2].startswith("SAC: rollouts by mopo_agents in batches, updates by mopo_agents")
    assert [line.split("|")[1].strip() for line in lines[3:8]] == [
        "cart",
        "---",
        "dataset",
        "model, first epoch",
        "model, epoch 2",
    ]
    assert lines[8].startswith("The policy was not evaluated")
    assert lines[-1] == "Policy, logs and result.json are in runs/cart-SAC-seed0."
    action, _ = load_policy(Path("runs/cart-SAC-seed0")).predict(np.array([100.0, 0.5], np.float32), deterministic=True)
    assert action.shape == (1,)

    code, out, _ = mopo("fit-termination", folder, *TINY_RULE)
    assert code == 0
    test = read_artifact(folder, "termination")[1]["test"]
    assert (
        f"{test['rows']:,} rows, {test['terminal_rows']:,} of them terminal: precision {test['precision']:.3f}, "
        f"recall {test['recall']:.3f}, F1 {test['f1']:.3f}"
    ) in out
    right = 1 - test["terminal_rows"] / test["rows"]
    assert f"A rule that predicts no terminal row has F1 0 and is right in {right:.1%} of the rows." in out
    assert (
        out.splitlines()[-1] == f"The termination rule is in {folder}. Next: mopo train {folder} --termination learned"
    )
    code, out, _ = mopo("train", folder, "--epochs=1", "--gradient-steps=1", f"--rollout-batch-size={B}")
    assert "termination: learned" in out.splitlines()[0]
    assert "no rollout will" not in out


def test_the_record_of_a_run_without_an_environment(folder: Path) -> None:
    """Whoever finds the folder later must see what was chosen, what the model said, and that nobody checked it."""
    result = run(folder)
    config = json.loads(Path("run/config.json").read_text())
    expected = {"task": str(folder), "horizon": 5, "penalty_coef": 1.0, "termination": "never", "real_env": None}
    assert {name: config[name] for name in expected} == expected
    assert config["standardise"] is True
    found = json.loads(Path("run/result.json").read_text())
    assert (found["real_env"], found["evaluations"], found["final_returns"]) == (None, [], None)
    assert not Path("run/evaluations.csv").exists()

    with Path("run/progress.csv").open(newline="") as stream:
        progress = list(csv.DictReader(stream))
    names = {"reward": "reward_mean", "model_reward": "model_reward_mean", "penalty": "penalty_mean"}
    names["terminated"] = "terminated_share"
    assert [{name: float(line[f"mopo/{column}"]) for name, column in names.items()} for line in progress] == [
        pytest.approx(vars(row)) for row in result.model_rows
    ]
    assert [found["model_first_epoch"], found["model_last_epoch"]] == [vars(row) for row in result.model_rows]
    for row in result.model_rows:
        assert row.reward == pytest.approx(row.model_reward - 1.0 * row.penalty, rel=1e-4)
        assert row.terminated == 0.0
    transitions = result.agent.env.rollouts.penalized_model.transitions  # type: ignore[union-attr]
    assert found["dataset_reward"] == pytest.approx(float(transitions.rewards.mean()), rel=1e-5)
    assert found["dataset_terminated"] == pytest.approx(FELL / len(transitions))


def test_the_share_of_terminal_steps_is_counted(folder: Path) -> None:
    """By a rule that calls every step terminal; rollouts that only reach the horizon count for nothing."""
    rule = LearnedTermination(2, 1, hidden_sizes=(2,), num_members=1).requires_grad_(False)
    for tensor in (rule.threshold, *rule.parameters()):
        tensor.zero_()  # a probability of one half everywhere, and a threshold of none
    save_termination(rule, folder)
    assert [row.terminated for row in run(folder).model_rows] == [1.0, 1.0]
    assert json.loads(Path("run/config.json").read_text())["termination"] == "learned"


def test_termination_can_be_chosen(folder: Path) -> None:
    agent: Any = run(folder, termination="hopper", epochs=1).agent
    assert agent.env.rollouts.penalized_model.termination is hopper
    assert json.loads(Path("run/config.json").read_text())["termination"] == "hopper"


@pytest.mark.parametrize(("termination", "error"), [("learned", StoreError), ("hoper", UnknownNameError)])
def test_a_rule_that_is_not_there_leaves_no_run(folder: Path, termination: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        run(folder, termination=termination)
    assert not Path("run").exists()


def test_two_datasets_leave_no_run(folder: Path) -> None:
    with pytest.raises(ConfigError, match="name only one"):
        run(folder, dataset=str(folder))
    assert not Path("run").exists()


def test_an_environment_that_the_user_names_evaluates(mopo: Mopo, folder: Path) -> None:
    """One of Gymnasium's that happens to have these widths, and that needs no MuJoCo."""
    result = run(folder, real_env="MountainCarContinuous-v0")
    assert result.final is not None
    assert result.final.normalised is None
    found = json.loads(Path("run/result.json").read_text())
    assert (found["real_env"], found["final_returns"]) == ("MountainCarContinuous-v0", list(result.final.returns))

    policy = read_artifact("run", "policy")[1]
    assert (policy["task"], policy["trained_on"]) == (None, "cart")
    code, out, err = mopo("evaluate", "run")
    assert (code, out) == (2, "")
    assert "--real-env: needed" in err
    arguments = ("--real-env", "MountainCarContinuous-v0", "--episodes", 1, "--seed", 3)
    code, out, _ = mopo("evaluate", "run", *arguments)
    assert code == 0
    assert out.startswith("MountainCarContinuous-v0, 1 episodes: return ")
    content = json.loads(Path("run/evaluation-MountainCarContinuous-v0-seed3.json").read_text())
    expected = evaluate(load_policy("run"), real_env="MountainCarContinuous-v0", episodes=1, seed=3)
    assert content["returns"] == list(expected.returns)
    assert content["real_env"] == "MountainCarContinuous-v0"


@pytest.mark.parametrize(
    ("real_env", "error"),
    [
        ("NoSuchEnv-v0", ConfigError),
        ("no_such_module:Env-v0", ConfigError),
        ("not an id", ConfigError),
        ("Pendulum-v1", SpaceMismatchError),
    ],
)
def test_an_environment_that_cannot_be_used_leaves_no_run(folder: Path, real_env: str, error: type[Exception]) -> None:
    """To hear of it after the first epochs would be late."""
    with pytest.raises(error, match=real_env):
        run(folder, real_env=real_env)
    assert not Path("run").exists()


def test_the_policy_scales_what_it_sees(folder: Path) -> None:
    """Millimetres beside metres a second: unscaled, a network sees the first alone. Its users give it raw units."""
    result = run(folder, epochs=1)
    extractor = result.agent.policy.actor.features_extractor  # type: ignore[union-attr]
    assert isinstance(extractor, Standardise)
    observations = result.agent.env.rollouts.penalized_model.transitions.observations  # type: ignore[union-attr]
    np.testing.assert_allclose(extractor.std.numpy(), observations.std(axis=0), rtol=1e-4)
    expected = result.agent.predict(observations, deterministic=True)[0]
    np.testing.assert_array_equal(load_policy("run").predict(observations, deterministic=True)[0], expected)


def test_a_hint_for_data_that_a_task_has_a_rule_for(mopo: Mopo, folder: Path, tmp_path: Path) -> None:
    """Data that `mopo collect` wrote know their task, and its analytic rule is better than a learned one."""
    transitions = replace(load_transitions(folder), metadata={"name": "hopper-mixed"})
    assert transitions.terminations.any()
    save_transitions(transitions, tmp_path / "data")
    _, out, _ = mopo("fit", tmp_path / "data", *TINY_FIT)
    assert out.splitlines()[-1].endswith(f"Next: mopo train hopper-mixed --dataset {tmp_path / 'data'}")
    assert "fit-termination" not in out


def test_a_rule_needs_a_folder(mopo: Mopo, folder: Path, tmp_path: Path) -> None:
    """A Minari dataset has none of ours."""
    save_minari(load_transitions(folder), "plant/cart-v0")
    code, _, err = mopo("fit-termination", "plant/cart-v0", *TINY_RULE)
    assert code == 2
    assert "--out: needed" in err
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
