"""The contracts that users inherit: ours keep them, and what breaks one is found by the test that is named after it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import torch

from mopo_env import testing
from mopo_env.models.ensemble import GaussianEnsemble
from mopo_env.models.function_model import FunctionModel
from mopo_env.penalties import PENALTIES, error_estimator, learned_variance
from mopo_env.penalties.oracle import OraclePenalty
from mopo_env.real.true_dynamics import TrueDynamics
from mopo_env.terminations import TERMINATIONS, hopper
from mopo_env.terminations.learned import LearnedTermination
from mopo_env.toys import LinearGaussianSystem, TabularMDP, TabularPrediction, tabular_error
from mopo_env.toys.tabular import TabularModel

SYSTEM = LinearGaussianSystem()
TABULAR = TabularMDP(probabilities=np.ones((3, 2, 3)) / 3, rewards=np.ones((3, 2)), start=np.ones(3) / 3, discount=0.9)


def in_numpy(observations: Any, actions: Any) -> tuple[np.ndarray, np.ndarray]:
    mean = np.column_stack([observations.numpy() + actions.numpy(), actions.numpy()])
    return mean, np.ones_like(mean)


def mujoco_hopper() -> TrueDynamics:
    pytest.importorskip("mujoco")
    return TrueDynamics("Hopper-v5")


MODELS: dict[str, Callable[[], Any]] = {
    "ensemble": lambda: GaussianEnsemble(3, 2, num_members=3, hidden_sizes=(8,)).requires_grad_(False),
    "bfloat16": lambda: GaussianEnsemble(3, 2, hidden_sizes=(8, 8)).requires_grad_(False).at_precision("bfloat16"),
    "stub": SYSTEM.model,
    "tabular": TABULAR.model,
    "function": lambda: FunctionModel(in_numpy, observation_dim=2, action_dim=1),
}
RULES = {"hopper": 11, "walker2d": 17, "ant": 27, "cartpole": 4, "never": 3, "halfcheetah": 17}


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> Any:
    return MODELS[request.param]


class TestModels(testing.DynamicsModelContract):
    @pytest.fixture(autouse=True)
    def _choose(self, model: Callable[[], Any]) -> None:
        self.make = model  # type: ignore[method-assign]


class TestTrueDynamics(testing.DynamicsModelContract):
    """Its simulators are shared, so that threads must wait for each other; few states are stood upright."""

    num_rows = (1, 7)

    def make(self) -> Any:
        return mujoco_hopper()

    def draw_inputs(self, subject: Any, num_rows: int, generator: torch.Generator) -> Any:
        observations, actions = super().draw_inputs(subject, num_rows, generator)
        return 0.01 * observations + torch.eye(11)[0] * 1.25, actions


@pytest.fixture(params=PENALTIES)
def penalty(request: pytest.FixtureRequest) -> Any:
    return PENALTIES[request.param]


class TestPenalties(testing.PenaltyContract):
    @pytest.fixture(autouse=True)
    def _choose(self, penalty: Any) -> None:
        self.make = lambda: penalty  # type: ignore[method-assign]


class TestErrorEstimator(testing.PenaltyContract):
    def make(self) -> Any:
        return error_estimator(lambda observations, actions: observations.square().sum(dim=1) + actions[:, 0].abs())


class TestOracle(testing.PenaltyContract):
    observation_dim, action_dim = 2, 1

    def make(self) -> Any:
        return OraclePenalty(truth=SYSTEM.model(), max_error=100.0)


class TestTabularError(testing.PenaltyContract):
    """A penalty that reads another prediction than a Gaussian one."""

    def make(self) -> Any:
        return tabular_error

    def draw_inputs(self, subject: Any, num_rows: int, generator: torch.Generator) -> Any:
        model: TabularModel = TABULAR.model(np.arange(6.0).reshape(3, 2))
        states = torch.randn((num_rows, 3), generator=generator)
        return model.predict(states, torch.randn((num_rows, 2), generator=generator))

    def first_rows(self, inputs: Any, count: int) -> Any:
        return TabularPrediction(**{field.name: getattr(inputs, field.name)[:count] for field in fields(inputs)})


@pytest.fixture(params=RULES)
def rule(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


class TestRules(testing.TerminationContract):
    @pytest.fixture(autouse=True)
    def _choose(self, rule: str) -> None:
        self.observation_dim = RULES[rule]
        self.make = lambda: TERMINATIONS[rule]  # type: ignore[method-assign]


class TestLearnedRule(testing.TerminationContract):
    def make(self) -> Any:
        return LearnedTermination(3, 2, inputs="transition", hidden_sizes=(8,)).requires_grad_(False)


# ---------------------------------------------------------------- what breaks a contract is found


class Broken:
    """A model of two columns and one action that does one thing wrong."""

    observation_dim, action_dim, device = 2, 1, torch.device("cpu")

    def __init__(self, fault: str) -> None:
        self.fault, self.calls = fault, 0

    def predict(self, observations: Any, actions: Any) -> Any:
        said = SYSTEM.model().predict(observations, actions)
        self.calls += 1
        if self.fault == "state":
            said = replace(said, mean=said.mean + self.calls)
        if self.fault == "writes":
            observations += 1.0
        if self.fault == "moves":
            torch.rand(1)
        if self.fault == "nan":
            said = replace(said, std=said.std * torch.nan)
        if self.fault == "others":
            said = replace(said, observations=observations + 1.0)
        return said


@pytest.mark.parametrize(
    ("fault", "test", "message"),
    [
        ("state", "test_the_same_question_has_the_same_answer", "a second call"),
        ("writes", "test_inputs_are_not_written_to", "written to"),
        ("moves", "test_global_generators_are_neither_read_nor_moved", "was moved"),
        ("nan", "test_draws_are_finite_and_of_the_shapes_of_the_batch", "not finite"),
        ("others", "test_a_prediction_holds_what_was_asked", "other observations"),
    ],
)
def test_a_broken_model_is_found(fault: str, test: str, message: str) -> None:
    contract = testing.DynamicsModelContract()
    contract.make = lambda: Broken(fault)  # type: ignore[method-assign]
    with pytest.raises(AssertionError, match=message):
        getattr(contract, test)()


def test_a_model_that_shares_what_it_works_with_between_threads_is_found() -> None:
    """As a model does that keeps its batch on itself while it computes."""

    class Shared(Broken):
        def predict(self, observations: Any, actions: Any) -> Any:
            self.batch = observations, actions
            torch.linalg.inv(torch.eye(300))
            return SYSTEM.model().predict(*self.batch)

    contract = testing.DynamicsModelContract()
    contract.num_rows = (50, 51, 52)
    contract.make = lambda: Shared("")  # type: ignore[method-assign]
    with pytest.raises(AssertionError, match="several threads"):
        contract.test_threads_do_not_disturb_each_other()


@pytest.mark.parametrize(
    ("penalty", "test", "message"),
    [
        (lambda said: -learned_variance(said), "one_finite_number_a_row_and_never_negative", "expected none below 0"),
        (lambda said: learned_variance(said)[:, None], "one_finite_number_a_row_and_never_negative", "found shape"),
        (lambda said: learned_variance(said).numpy(), "one_finite_number_a_row_and_never_negative", "found a ndarray"),
        (lambda said: learned_variance(said) > 1, "one_finite_number_a_row_and_never_negative", "torch.bool"),
        (lambda said: said.std.sum((0, 2)) - said.std.mean(), "stands_for_itself", "others are left out"),
        (lambda said: said.std.sqrt_().sum((0, 2)), "not_written_to", "written to"),
    ],
)
def test_a_broken_penalty_is_found(penalty: Any, test: str, message: str) -> None:
    contract = testing.PenaltyContract()
    contract.make = lambda: penalty  # type: ignore[method-assign]
    (name,) = (name for name in dir(contract) if name.endswith(test))
    with pytest.raises(AssertionError, match=message):
        getattr(contract, name)()


def test_a_broken_rule_is_found() -> None:
    """One that answers in floats, which the environment refuses."""
    contract = testing.TerminationContract()
    contract.observation_dim = 11
    contract.make = lambda: lambda *arrays: hopper(*arrays).float()  # type: ignore[method-assign]
    with pytest.raises(AssertionError, match=r"found torch\.float32, expected torch\.bool"):
        contract.test_it_is_one_boolean_a_row()


def test_global_numbers_that_are_read_and_put_back_are_found() -> None:
    """As the one did that lent the global generator the state of its own: nothing moved, and yet a race."""
    contract = testing.PenaltyContract()

    def reads(said: Any) -> torch.Tensor:
        before = torch.get_rng_state()
        values = torch.rand(len(said.observations))
        torch.set_rng_state(before)
        return values

    contract.make = lambda: reads  # type: ignore[method-assign]
    with pytest.raises(AssertionError, match="depends on a global"):
        contract.test_global_generators_are_neither_read_nor_moved()


def test_the_contracts_need_no_pytest() -> None:
    """They are part of the package, and pytest is not among what it needs."""
    code = "import sys; sys.modules['pytest'] = None; import mopo_env.testing"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
