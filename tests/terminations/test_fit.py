"""Fitting a termination rule: what is held out stays out, and the rule finds the states that end real episodes."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Discrete
from helpers.transitions import ARRAYS

from mopo_env.envs.penalized_model import PenalizedModel
from mopo_env.errors import ConfigError, DatasetError
from mopo_env.real.real_env import make_real_env
from mopo_env.terminations import fit, get_termination, never
from mopo_env.terminations.config import TerminationConfig
from mopo_env.terminations.fit import best_threshold, detection, fit_termination, split_episodes
from mopo_env.terminations.learned import LearnedTermination
from mopo_env.toys import StubEnsemble
from mopo_env.transitions import Transitions

QUICK = TerminationConfig(num_members=2, hidden_sizes=(16,), max_epochs=25, batch_size=64, learning_rate=1e-2)


def from_steps(rows: list[tuple[Any, ...]], **options: Any) -> Transitions:
    return Transitions(**dict(zip(ARRAYS, zip(*rows, strict=True), strict=True)), **options)


def walks(num_walks: int = 120, seed: int = 0, *, limit: float = 2.0) -> Transitions:
    """Random walks of two columns that end where the first exceeds a limit, or are cut off after 30 steps."""
    random = np.random.default_rng(seed)
    rows: list[tuple[Any, ...]] = []
    for _ in range(num_walks):
        state = random.normal(scale=0.5, size=2)
        for step in range(30):
            action = random.uniform(-1, 1, 1)
            following = state + random.normal(scale=0.4, size=2)
            terminal = following[0] > limit
            rows.append((state, action, 0.0, following, terminal, step == 29))
            if terminal:
                break
            state = following
    return from_steps(rows, metadata={"name": "walks"})


@pytest.fixture(scope="module")
def data() -> Transitions:
    return walks()


@pytest.fixture(scope="module")
def fitted(data: Transitions) -> LearnedTermination:
    return fit_termination(data, QUICK, progress=False)


def tensors(transitions: Transitions) -> tuple[torch.Tensor, ...]:
    names = ("observations", "actions", "next_observations")
    return tuple(torch.tensor(getattr(transitions, name)) for name in names)


def parts_of(transitions: Transitions) -> tuple[torch.Tensor, ...]:
    """Return the three parts as the fit with `QUICK` makes them, after it has drawn its first weights."""
    generator = torch.Generator().manual_seed(QUICK.seed)
    LearnedTermination(2, 1, num_members=2, hidden_sizes=(16,), generator=generator)
    return split_episodes(transitions, QUICK, generator)


def f1_of(rule: Any, transitions: Transitions) -> float:
    return detection(rule(*tensors(transitions)), torch.tensor(transitions.terminations)).f1


def without_terminations(transitions: Transitions, keep: int = 0, **metadata: Any) -> Transitions:
    flags = transitions.terminations.copy()
    flags[np.flatnonzero(flags)[keep:]] = False
    return replace(transitions, terminations=flags, truncations=~flags & transitions.terminations, metadata=metadata)


# ---------------------------------------------------------------- what is measured


def test_detection_counts_what_the_names_say() -> None:
    """Three predicted, two of them rightly; four are terminal: precision 2/3, recall 2/4, F1 2·2/(3 + 4)."""
    called = torch.tensor([1, 1, 1, 0, 0, 0, 0], dtype=torch.bool)
    terminal = torch.tensor([1, 1, 0, 1, 1, 0, 0], dtype=torch.bool)
    assert detection(called, terminal) == pytest.approx((2 / 3, 1 / 2, 4 / 7))
    assert detection(terminal, terminal) == (1.0, 1.0, 1.0)


def test_predicting_no_terminal_row_is_worth_nothing() -> None:
    """It is right in 95 % of the rows: accuracy says nothing of rare rows."""
    terminal = torch.arange(100) < 5
    assert detection(torch.zeros(100, dtype=torch.bool), terminal) == (0.0, 0.0, 0.0)
    assert detection(terminal, torch.zeros(100, dtype=torch.bool)) == (0.0, 0.0, 0.0)


def test_the_threshold_is_the_best_of_all() -> None:
    """Against every threshold there can be, on probabilities that repeat."""
    for seed in range(50):
        random = np.random.default_rng(seed)
        probabilities = torch.tensor(random.integers(1, 9, 12) / 8.0, dtype=torch.float32)
        terminal = torch.tensor(random.random(12) < 0.4)
        terminal[seed % 12] = True
        candidates = [k / 16.0 for k in range(1, 17, 2)]
        best = max(detection(probabilities > candidate, terminal).f1 for candidate in candidates)
        threshold = best_threshold(probabilities, terminal)
        assert 0.0 <= threshold <= 1.0
        assert detection(probabilities > threshold, terminal).f1 == best


def test_the_threshold_keeps_its_distance() -> None:
    """Between 0.2 and 0.8 every threshold is as good on these rows; the middle errs least on others."""
    probabilities = torch.tensor([0.1, 0.8, 0.2, 0.9])
    assert best_threshold(probabilities, torch.tensor([False, True, False, True])) == pytest.approx(0.5)
    # To call the first alone (F1 2/3) is as good as the first four (4/6), and the wider gap lies below these.
    probabilities = torch.tensor([0.9, 0.88, 0.8, 0.75, 0.15])
    assert best_threshold(probabilities, torch.tensor([True, False, False, True, False])) == pytest.approx(0.45)


# ---------------------------------------------------------------- what is held out


def test_the_split_is_of_whole_episodes(data: Transitions) -> None:
    """Rows of one episode resemble each other: with some of them fitted, the others are no test."""
    parts = split_episodes(data, TerminationConfig(), torch.Generator().manual_seed(0))
    assert torch.equal(torch.cat(parts).sort().values, torch.arange(len(data)))
    episode_of_row = np.searchsorted(data.episode_ends, np.arange(len(data)))
    for one, other in itertools.combinations(parts, 2):
        assert not set(episode_of_row[one]) & set(episode_of_row[other])
    terminated = data.terminations.sum()
    for part, share in zip(parts, (0.7, 0.15, 0.15), strict=True):
        assert abs(data.terminations[part].sum() - share * terminated) <= 1
    other = split_episodes(data, TerminationConfig(), torch.Generator().manual_seed(1))
    assert not torch.equal(parts[2], other[2])


def test_three_terminated_episodes_are_one_for_each_part() -> None:
    few = without_terminations(walks(20), keep=3)
    parts = split_episodes(few, TerminationConfig(), torch.Generator().manual_seed(0))
    assert [int(few.terminations[part].sum()) for part in parts] == [1, 1, 1]
    assert fit_termination(few, replace(QUICK, max_epochs=1), progress=False).metadata["test"]["terminal_rows"] == 1


def test_what_is_measured_is_neither_fitted_nor_tuned_on(data: Transitions, fitted: LearnedTermination) -> None:
    """The test part is turned into nonsense: the rule must come out the same, bit for bit, and its score worse."""
    _, _, test = parts_of(data)
    nonsense = data.next_observations.copy()
    nonsense[test] = -nonsense[test]
    other = fit_termination(replace(data, next_observations=nonsense), QUICK, progress=False)
    for name, tensor in fitted.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor), name
    assert other.metadata["validation"] == fitted.metadata["validation"]
    assert other.metadata["test"]["f1"] < 0.5 < fitted.metadata["test"]["f1"]


# ---------------------------------------------------------------- the fit


def test_a_limit_is_learned(fitted: LearnedTermination) -> None:
    """On walks of another seed, which the fit never saw; a rule that knows nothing has F1 0."""
    fresh = walks(seed=1)
    assert f1_of(fitted, fresh) > 0.9
    assert f1_of(never, fresh) == 0.0
    assert not any(parameter.requires_grad for parameter in fitted.parameters())


def test_the_metadata_are_those_of_the_rule(data: Transitions, fitted: LearnedTermination) -> None:
    """Numbers that are printed and stored must be what the stored rule does."""
    rule = fitted
    _, validation, test = parts_of(data)
    called, terminal = rule(*tensors(data)), torch.tensor(data.terminations)
    for name, part in (("validation", validation), ("test", test)):
        found = rule.metadata[name]
        assert (found["precision"], found["recall"], found["f1"]) == detection(called[part], terminal[part])
        assert (found["rows"], found["terminal_rows"]) == (len(part), int(terminal[part].sum()))
    assert rule.metadata["threshold"] == float(rule.threshold)
    assert rule.metadata["dataset_fingerprint"] == data.fingerprint
    assert rule.metadata["dataset_name"] == "walks"
    assert rule.metadata["observation_space"] == {"low": [None, None], "high": [None, None]}
    assert rule.metadata["config"]["hidden_sizes"] == (16,)
    assert 1 <= rule.metadata["epochs"] <= QUICK.max_epochs


def test_the_same_seed_gives_the_same_rule(data: Transitions) -> None:
    """And no global generator is read or moved."""
    before = torch.get_rng_state()
    first, again, other = (
        fit_termination(data, replace(QUICK, max_epochs=2, seed=seed), progress=False).state_dict()
        for seed in (0, 0, 1)
    )
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["layers.0.weight"], other["layers.0.weight"])
    assert torch.equal(torch.get_rng_state(), before)


def test_the_best_epoch_is_kept(data: Transitions) -> None:
    """A fit that goes on for long ends no worse on the part that chooses: what came later is thrown away."""
    wild = replace(QUICK, learning_rate=0.5, patience=3)
    rule = fit_termination(data, wild, progress=False)
    assert rule.metadata["epochs"] < wild.max_epochs
    longer = fit_termination(data, replace(wild, max_epochs=rule.metadata["epochs"] - 4), progress=False)
    assert all(torch.equal(rule.state_dict()[name], tensor) for name, tensor in longer.state_dict().items())


def test_columns_that_decide_nothing_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second column ends no walk: its weights shrink to almost nothing, which pays where terminal rows are rare."""
    share = []
    for sparsity in (0.0, 0.2):
        monkeypatch.setattr(fit, "_SPARSITY", sparsity)
        weight = fit_termination(walks(), QUICK, progress=False).layers[0].get_parameter("weight")
        share.append(float(weight[:, 1].norm() / weight[:, 0].norm()))
    assert share[1] < 0.1 < share[0]


def test_an_ending_that_depends_on_the_action_needs_the_whole_transition() -> None:
    """Where an operator stops the machine, the next state does not tell."""
    data = walks(limit=99.0)
    stopped = data.actions[:, 0] > 0.8
    data = replace(data, terminations=stopped, truncations=data.truncations & ~stopped)
    seeing = fit_termination(data, replace(QUICK, inputs="transition"), progress=False)
    blind = fit_termination(data, QUICK, progress=False)
    assert seeing.metadata["test"]["f1"] > 0.9
    assert blind.metadata["test"]["f1"] < 0.5


@pytest.mark.parametrize("first", [0, 3])
def test_discrete_actions(first: int) -> None:
    """The second of three stops the machine: no sum of numbers can tell, and the rollouts hand over numbers."""
    data = walks(limit=99.0)
    numbers = np.digitize(data.actions[:, 0], (-0.1, 0.1))
    data = replace(
        data,
        actions=numbers + first,
        action_space=Discrete(3, start=first),
        terminations=numbers == 1,
        truncations=data.truncations & (numbers != 1),
    )
    rule = fit_termination(data, replace(QUICK, inputs="transition"), progress=False)
    assert (rule.action_dim, rule.first_action) == (3, first)
    assert rule.metadata["test"]["f1"] > 0.9
    model = StubEnsemble(2, 3, mean=lambda states, actions: (states, torch.zeros(len(states))))
    penalized_model = PenalizedModel(model, data, termination=rule)
    states = penalized_model.reset(60, torch.Generator().manual_seed(0))
    actions = torch.arange(60) % 3 + first
    ended = penalized_model.step(states, actions, torch.Generator().manual_seed(0)).terminations
    assert (ended == (actions == 1 + first)).float().mean() > 0.9
    assert fit_termination(data, replace(QUICK, max_epochs=1), progress=False).first_action == first


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize("keep", [0, 1, 2])
def test_too_few_ends_are_refused(data: Transitions, keep: int) -> None:
    """A classifier of nothing would say never, with a perfect accuracy."""
    with pytest.raises(DatasetError, match=rf"^terminations: found {keep} episodes? .* expected at least 3"):
        fit_termination(without_terminations(data, keep), QUICK, progress=False)


def test_rows_that_the_import_dropped_are_remembered(data: Transitions) -> None:
    """A table without next states loses exactly the rows that are needed here; the message says so."""
    with pytest.raises(DatasetError, match=r"40 last rows of episodes were dropped"):
        fit_termination(without_terminations(data, rows_dropped=40), QUICK, progress=False)


def test_a_device_that_is_not_here_is_refused(data: Transitions) -> None:
    with pytest.raises(ConfigError, match="device"):
        fit_termination(data, QUICK, device="cuda:99", progress=False)


# ---------------------------------------------------------------- real data


def random_steps(name: str, num_steps: int, seed: int = 0) -> Transitions:
    """Run a MuJoCo environment at random."""
    env, random = make_real_env(f"{name}-random"), np.random.default_rng(seed)
    low, high = (getattr(env.action_space, bound) for bound in ("low", "high"))
    rows: list[tuple[Any, ...]] = []
    observation, _ = env.reset(seed=seed)
    for _ in range(num_steps):
        action = random.uniform(low, high).astype(np.float32)
        following, reward, terminated, truncated, _ = env.step(action)
        rows.append((observation, action, reward, following, terminated, truncated))
        observation = env.reset()[0] if terminated or truncated else following
    env.close()
    return from_steps(rows)


@pytest.mark.parametrize(
    ("name", "num_steps"),
    [
        ("hopper", 8_000),
        pytest.param("hopper", 20_000, marks=pytest.mark.slow),
        pytest.param("walker2d", 20_000, marks=pytest.mark.slow),
    ],
)
def test_the_rule_of_a_real_robot_is_learned(name: str, num_steps: int) -> None:
    """On real transitions of another seed it agrees with the analytic rule, which it was not told.

    Random behaviour falls after some twenty steps, so that 4 to 5 % of the rows are terminal; to call none of them so
    is right in the other 95 %, and finds nothing.
    """
    pytest.importorskip("mujoco")
    rule = fit_termination(random_steps(name, num_steps), progress=False)
    assert rule.metadata["test"]["f1"] >= 0.9
    fresh = random_steps(name, 4_000, seed=1)
    analytic = get_termination(name)(*tensors(fresh))
    assert torch.equal(analytic, torch.tensor(fresh.terminations))
    assert 0.03 < fresh.terminations.mean() < 0.06
    assert detection(rule(*tensors(fresh)), analytic).f1 >= 0.9
    assert detection(never(*tensors(fresh)), analytic).f1 == 0.0
