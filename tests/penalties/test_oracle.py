"""The oracle penalty: by hand on toys whose truth is known, and on a task, where MuJoCo tells the truth."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from helpers.models import generator
from helpers.transitions import transitions

from mopo_env import OraclePenalty, PenalizedModel, TrueDynamics, load_dataset, make_penalized_model
from mopo_env.datasets.files import save_transitions
from mopo_env.datasets.locate import resolve_task
from mopo_env.envs.envelope import OUTSIDE
from mopo_env.envs.make import resolve_penalty
from mopo_env.errors import ConfigError, MissingExtraError, SpaceMismatchError, UnknownNameError
from mopo_env.models.protocol import GaussianPrediction
from mopo_env.penalties import get_penalty, no_penalty
from mopo_env.penalties.oracle import make_oracle_penalty
from mopo_env.real.real_env import make_real_env
from mopo_env.tasks import get_task
from mopo_env.toys import LinearGaussianSystem, StubEnsemble

TASK = "halfcheetah-mixed"
# Of position, velocity and reward: what normalised units divide by.
SCALE = [3.0, 4.0, 6.0]


def constant(outcome: Any, *, elites: Any = None) -> StubEnsemble:
    """Predict, whatever is asked, one row a member: next position, next velocity, reward."""
    rows = torch.tensor(np.atleast_2d(outcome), dtype=torch.float32)
    model = StubEnsemble(
        2, 1, mean=lambda s, a: (torch.zeros(len(s), 2), torch.zeros(len(s))), num_members=len(rows), elites=elites
    )
    predict = model.predict

    def predict_rows(observations: torch.Tensor, actions: torch.Tensor) -> GaussianPrediction:
        prediction = predict(observations, actions)
        prediction.mean[:] = rows[:, None]
        return dataclasses.replace(prediction, target_std=torch.tensor(SCALE))

    model.predict = predict_rows  # type: ignore[method-assign]
    return model


def oracle(model: StubEnsemble, truth: Any, rows: int = 2, **options: Any) -> list[float]:
    prediction = model.predict(torch.zeros(rows, 2), torch.zeros(rows, 1))
    known = truth if isinstance(truth, StubEnsemble) else constant(truth)
    penalty = OraclePenalty(**{"truth": known, "max_error": 100.0, **options})
    values = penalty(prediction)
    assert values.shape == (rows,)
    return values.tolist()


# ---------------------------------------------------------------- by hand

# Errors of the next state: (3, 4), (0, −1) and, of the member that is no elite, (30, 40). Of the reward: 12, 0, 0.
TRUTH = [1.0, 1.0, 5.0]
MODEL = [[4.0, 5.0, 17.0], [1.0, 0.0, 5.0], [31.0, 41.0, 5.0]]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, (5 + 1) / 2),
        ({"combine": "max"}, 5.0),
        ({"combine": "consensus"}, np.hypot(1.5, 1.5)),
        ({"reward": True}, (13 + 1) / 2),
        ({"reward": True, "combine": "max"}, 13.0),
        ({"reward": True, "combine": "consensus"}, np.linalg.norm([1.5, 1.5, 6.0])),
        ({"members": "all"}, (5 + 1 + 50) / 3),
        ({"members": "all", "combine": "max"}, 50.0),
        ({"members": "all", "combine": "consensus"}, np.linalg.norm([33 / 3, 43 / 3])),
        ({"units": "normalised"}, (np.sqrt(2) + 0.25) / 2),
        ({"units": "normalised", "combine": "max", "reward": True}, np.sqrt(6)),
    ],
)
def test_errors_of_the_elites(options: dict[str, Any], expected: float) -> None:
    assert oracle(constant(MODEL, elites=[0, 1]), TRUTH, **options) == pytest.approx([expected] * 2)


def test_a_truth_of_several_members_is_their_mean() -> None:
    """A toy's own model may have some; members that are no elites are not asked, as of T̂."""
    truth = constant([[0.0, 0.0, 0.0], [2.0, 2.0, 10.0], [99.0, 99.0, 99.0]], elites=[0, 1])
    assert oracle(constant(MODEL, elites=[0, 1]), truth) == pytest.approx([3.0] * 2)


def test_normalised_units_of_a_model_without_a_scale_are_refused() -> None:
    """Raw units in their place would be another penalty under the same name."""
    system = LinearGaussianSystem()
    penalty = OraclePenalty(truth=system.model(), max_error=1.0, units="normalised")
    with pytest.raises(ConfigError, match=r"units: .*does not know the scale"):
        penalty(system.model().predict(torch.zeros(1, 2), torch.zeros(1, 1)))


def test_the_noise_of_a_prediction_is_no_error() -> None:
    """What is asked is how wrong the mean is; how sure the model is of it is the learned penalty's business."""
    system = LinearGaussianSystem()
    transitions = system.transitions(num_episodes=2)
    observations, actions = (torch.tensor(array) for array in (transitions.observations, transitions.actions))
    penalty = OraclePenalty(truth=system.model(), max_error=1.0)
    assert not penalty(system.model(std=10.0, num_members=3).predict(observations, actions)).any()


def test_each_row_has_its_own_truth() -> None:
    """x̂′ = x + offset where x′ = A·x + B·u: the error differs from row to row, and follows the state."""
    system = LinearGaussianSystem()
    transitions = system.transitions(num_episodes=3)
    states, inputs = transitions.observations, transitions.actions
    model = StubEnsemble(2, 1, mean=lambda s, a: (s, torch.zeros(len(s))), offsets=[0.5, -1.0])
    penalty = OraclePenalty(truth=system.model(), max_error=100.0)
    truth = states @ np.array(system.a).T + inputs @ np.array(system.b).T
    expected = np.mean([np.linalg.norm(states + offset - truth, axis=1) for offset in (0.5, -1.0)], axis=0)
    found = penalty(model.predict(torch.tensor(states), torch.tensor(inputs)))
    assert found.numpy() == pytest.approx(expected, abs=1e-5)
    assert expected.std() > 0.01


def test_what_is_paid_is_the_models_reward_less_the_true_error() -> None:
    """r̃ = r̂ − λ·‖T̂ − T‖, through `PenalizedModel`, on a toy and without MuJoCo."""
    transitions = LinearGaussianSystem().start_transitions([0.0, 0.0])
    penalty = OraclePenalty(truth=constant(TRUTH), max_error=100.0)
    penalized_model = PenalizedModel(constant(MODEL, elites=[0]), transitions, penalty=penalty, penalty_coef=2.0)
    step = penalized_model.step(torch.zeros(3, 2), torch.zeros(3, 1), generator())
    assert step.penalties.tolist() == [5.0] * 3
    assert step.rewards.tolist() == [17.0 - 2.0 * 5.0] * 3


# ---------------------------------------------------------------- where there is no error to measure


@pytest.mark.parametrize("missing", [np.nan, np.inf, -np.inf, 1e30])
@pytest.mark.parametrize("combine", ["mean", "max", "consensus"])
def test_no_truth_costs_the_most(missing: float, combine: str) -> None:
    """NaN in a penalty would be taken for a breakdown of the model; free of charge, such states would attract."""
    assert oracle(constant(MODEL), [missing, 1.0, 5.0], combine=combine, max_error=7.0) == [7.0] * 2
    assert oracle(constant([missing, 1.0, 5.0]), TRUTH, combine=combine, max_error=7.0) == [7.0] * 2


def test_no_error_is_larger_than_the_largest() -> None:
    assert oracle(constant(MODEL), TRUTH, combine="max", max_error=49.0) == [49.0] * 2
    assert oracle(constant(MODEL), TRUTH, combine="max", max_error=51.0) == [50.0] * 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_error": 0.0}, r"^max_error: "),
        ({"max_error": np.inf}, r"^max_error: "),
        ({"combine": "sum"}, r"^combine: expected mean or max or consensus, found"),
        ({"members": "some"}, r"^members: expected all or elites, found"),
        ({"units": "m"}, r"^units: expected raw or normalised, found"),
        ({"reward": 1}, r"^reward: expected True or False"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        OraclePenalty(**{"truth": constant(TRUTH), "max_error": 1.0, **options})


def test_a_prediction_without_means_is_refused() -> None:
    """A model of one's own may draw without telling its mean; then there is no T̂(s, a) to compare."""
    penalty = OraclePenalty(truth=constant(TRUTH), max_error=1.0)
    with pytest.raises(ConfigError, match=r"compares means of a GaussianPrediction, found a SimpleNamespace"):
        penalty(SimpleNamespace(observations=torch.zeros(1, 2), actions=torch.zeros(1, 1)))  # type: ignore[arg-type]


# ---------------------------------------------------------------- on a task


@pytest.fixture(scope="module")
def penalized_model() -> PenalizedModel:
    pytest.importorskip("mujoco")
    return make_penalized_model(TASK, penalty="oracle", penalty_coef=2.0)


def test_the_name_is_enough(penalized_model: PenalizedModel) -> None:
    """The whole of it by hand: the bundled model against HalfCheetah-v5, row by row in Gymnasium's own environment."""
    stream = generator()
    observations = penalized_model.reset(50, stream)
    actions = torch.rand(50, 6, generator=stream) * 2 - 1
    step = penalized_model.step(observations, actions, stream)
    prediction: Any = penalized_model.model.predict(observations, actions)
    env: Any = make_real_env(TASK).unwrapped
    expected = []
    for row in range(50):
        state = np.concatenate([[0.0], observations[row].double().numpy()])
        env.set_state(state[:9], state[9:])
        truth = env.step(actions[row].numpy())[0]
        guesses = prediction.mean[prediction.elites, row, :-1].numpy()
        expected.append(np.linalg.norm(guesses - truth, axis=1).mean())
    env.close()
    assert step.penalties.numpy() == pytest.approx(np.array(expected), abs=1e-3)
    assert step.rewards.numpy() == pytest.approx((step.model_rewards - 2.0 * step.penalties).numpy())
    assert min(expected) > 0.1


def test_the_largest_error_is_the_width_of_the_data(penalized_model: PenalizedModel) -> None:
    penalty: Any = penalized_model.penalty
    observations = load_dataset(TASK).observations
    assert penalty.max_error == pytest.approx(np.linalg.norm(observations.max(axis=0) - observations.min(axis=0)))
    assert (penalty.truth.env_id, penalty.truth.num_threads) == ("HalfCheetah-v5", torch.get_num_threads())
    assert (penalty.combine, penalty.members, penalty.reward, penalty.units) == ("mean", "elites", False, "raw")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, np.hypot(4, 3)),
        ({"reward": None, "units": None, "members": None, "combine": None}, np.hypot(4, 3)),
        ({"reward": True}, np.sqrt(16 + 9 + 100)),
        ({"units": "normalised"}, np.hypot(4 / 0.5, 3)),
        ({"units": "normalised", "reward": True}, np.sqrt((4 / 0.5) ** 2 + 9 + (10 / 5) ** 2)),
        ({"units": "normalised", "reward": True, "max_error": 8}, 8.0),
    ],
)
def test_the_largest_error_has_the_units_of_the_penalty(options: dict[str, Any], expected: float) -> None:
    """Boxes of 4 by 3, rewards from 0 to 10; changes of ±0.5, always 0 (left unscaled), and rewards of 5 ± 5."""
    pytest.importorskip("mujoco")
    observations = np.zeros((2, 17))
    observations[:, 1:3] = [[1.0, 2.0], [5.0, 5.0]]
    following = observations.copy()
    following[:, 1] += [0.5, -0.5]
    data = transitions(widths=(17, 6), observations=observations, rewards=[0.0, 10.0], next_observations=following)
    assert make_oracle_penalty(get_task(TASK), data, **options).max_error == pytest.approx(expected)


def test_units_and_members_reach_the_task(penalized_model: PenalizedModel) -> None:
    """The bundled ensemble knows its scale; all seven members are asked, of which five are elites."""
    options = {"name": "oracle", "members": "all", "units": "normalised", "reward": True}
    penalty: Any = make_penalized_model(TASK, penalty=options).penalty
    observations = penalized_model.reset(20, generator())
    prediction: Any = penalized_model.model.predict(observations, torch.zeros(20, 6))
    truth = penalty.truth.predict(observations, torch.zeros(20, 6)).mean[0]
    expected = ((prediction.mean - truth) / prediction.target_std).norm(dim=-1).mean(dim=0)
    torch.testing.assert_close(penalty(prediction), expected)
    assert len(prediction.mean) == 7


def test_absurd_states_have_a_finite_price(penalized_model: PenalizedModel) -> None:
    """A state that MuJoCo cannot simulate is paid in full; the model itself may still have something to say of it."""
    observations = torch.full((4, 17), 3e4) * torch.tensor([1.0, -1.0]).repeat(9)[:17]
    step = penalized_model.step(observations, torch.zeros(4, 6), generator())
    penalty: Any = penalized_model.penalty
    assert step.penalties.tolist() == pytest.approx([penalty.max_error] * 4)
    assert step.rewards.isfinite().all()
    assert (step.exits == OUTSIDE).all()


def test_gymnasium_makes_it_by_name() -> None:
    """Names and mappings survive a spec's JSON, which objects do not."""
    pytest.importorskip("mujoco")
    options = {"name": "oracle", "combine": "max", "reward": True, "max_error": 50, "num_threads": 2}
    env = gym.make(f"MOPO-{TASK}", penalty=options)
    again = gym.make(gym.envs.registration.EnvSpec.from_json(env.spec.to_json()))  # type: ignore[union-attr]
    infos = []
    for each in (env, again, gym.make(f"MOPO-{TASK}", penalty="oracle")):
        each.reset(seed=0)
        infos.append(each.step(np.zeros(6, dtype=np.float32))[4]["penalty"])
        each.close()
    assert infos[0] == infos[1] > infos[2] > 0.0
    penalty = env.unwrapped.penalized_model.penalty  # type: ignore[attr-defined]
    assert (penalty.combine, penalty.reward, penalty.max_error, penalty.truth.num_threads) == ("max", True, 50, 2)
    assert json.loads(env.spec.to_json())["kwargs"]["penalty"] == options  # type: ignore[union-attr]


def test_rewards_of_relabelled_tasks_are_their_own() -> None:
    """`halfcheetah-jump` moves as HalfCheetah does and pays otherwise: the oracle must know both."""
    pytest.importorskip("mujoco")
    transitions = load_dataset(TASK)
    observations = torch.tensor(transitions.observations[:20])
    actions = torch.tensor(transitions.actions[:20])
    predictions = [
        make_oracle_penalty(get_task(task), transitions).truth.predict(observations, actions)
        for task in (TASK, "halfcheetah-jump")
    ]
    run, jump = (prediction.mean[0] for prediction in predictions)  # type: ignore[attr-defined]
    torch.testing.assert_close(run[:, :-1], jump[:, :-1], rtol=0, atol=1e-5)
    assert (run[:, -1] - jump[:, -1]).abs().min() > 1e-4


def test_another_version_can_be_the_truth() -> None:
    """D4RL's data come from version 2, to which version 4 is closest: in version 5 Walker2d's feet rub otherwise."""
    pytest.importorskip("mujoco")
    penalty = make_oracle_penalty(get_task("walker2d-mixed"), data_of_widths(17, 6), env_id="Walker2d-v4")
    assert isinstance(penalty.truth, TrueDynamics)
    assert penalty.truth.env_id == "Walker2d-v4"


def data_of_widths(observation_dim: int, action_dim: int) -> Any:
    return transitions(2, widths=(observation_dim, action_dim))


@pytest.mark.parametrize(
    ("task", "widths", "options", "message"),
    [
        ("cartpole-mixed", (4, 2), {}, r"^penalty: the oracle needs .*, but CartPole-v1 cannot be .* Known: Half"),
        (TASK, (17, 6), {"formula": "all"}, r"^penalty: the oracle has no option 'formula'. Known: combine, env_id, "),
        (TASK, (17, 6), {"truth": "me"}, r"^penalty: the oracle has no option 'truth'. "),
        (TASK, (17, 6), {"reward": "yes"}, r"^reward: "),
        (TASK, (17, 6), {"num_threads": 0}, r"^num_threads: "),
        (TASK, (17, 6), {"max_error": -1.0}, r"^max_error: "),
        (TASK, (17, 6), {"env_id": "HalfCheetah-v3"}, r"^penalty: .*, but HalfCheetah-v3 cannot be stepped"),
    ],
)
def test_what_the_oracle_refuses(task: str, widths: tuple[int, int], options: dict[str, Any], message: str) -> None:
    pytest.importorskip("mujoco")
    with pytest.raises(ConfigError, match=message):
        make_oracle_penalty(get_task(task), data_of_widths(*widths), **options)


def test_data_of_ones_own_have_the_oracle_that_is_named(tmp_path: Path) -> None:
    """Nobody else knows where they come from; without a name they are refused, ensemble or not."""
    pytest.importorskip("mujoco")
    save_transitions(data_of_widths(17, 6), tmp_path)
    with pytest.raises(
        ConfigError, match=rf"^penalty: the oracle needs .*, but {tmp_path.name} has none. .*--real-env"
    ):
        make_penalized_model(tmp_path, penalty="oracle")
    named = resolve_task(tmp_path, real_env="HalfCheetah-v5")
    options = {"name": "oracle", "env_id": "HalfCheetah-v4"}
    penalties: list[Any] = [resolve_penalty("oracle", named, tmp_path), resolve_penalty(options, named, tmp_path)]
    assert [penalty.truth.env_id for penalty in penalties] == ["HalfCheetah-v5", "HalfCheetah-v4"]


def test_without_a_task_there_is_no_oracle() -> None:
    """`PenalizedModel` knows no task; a name that `make_penalized_model` knows is not called unknown."""
    with pytest.raises(
        ConfigError, match=r"^penalty: the oracle needs the simulator of a task, .*make_penalized_model"
    ):
        get_penalty("oracle")
    with pytest.raises(UnknownNameError, match="Did you mean 'oracle'"):
        get_penalty("orcale")


def test_other_penalties_are_found_where_the_oracle_is() -> None:
    task, own = get_task("cartpole-mixed"), no_penalty
    for penalty in ("ensemble-std", {"name": "ensemble-std", "units": "normalised"}, own):
        assert resolve_penalty(penalty, task, "no such data") == get_penalty(penalty)


@pytest.mark.parametrize(("widths", "name"), [((11, 6), "observations"), ((17, 3), "actions")])
def test_data_of_another_robot_are_refused(widths: tuple[int, int], name: str) -> None:
    pytest.importorskip("mujoco")
    with pytest.raises(SpaceMismatchError, match=rf"^{name}: .* those of HalfCheetah-v5 \d+\. So it cannot be"):
        make_oracle_penalty(get_task(TASK), data_of_widths(*widths))


def test_without_mujoco_the_message_has_the_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mujoco", None)
    with pytest.raises(MissingExtraError, match=r'pip install "mopo-env\[mujoco\]"'):
        make_penalized_model(TASK, penalty="oracle")


def test_the_code_of_the_page_runs() -> None:
    """Both blocks of docs/oracle.md, and its commands ask for what there is."""
    pytest.importorskip("mujoco")
    page = (Path(__file__).resolve().parents[2] / "docs" / "oracle.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        exec(block, {})  # noqa: S102
    for field in dataclasses.fields(OraclePenalty):
        assert field.name == "truth" or f"| `{field.name}` |" in page
    assert all(f"`{option}`" in page for option in ("env_id", "num_threads"))
