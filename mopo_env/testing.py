"""Tests to inherit for your own model, penalty or termination rule.

Write `make`, and pytest finds the tests. This module does not import pytest::

    from mopo_env.testing import PenaltyContract

    class TestMyPenalty(PenaltyContract):
        def make(self):
            return my_penalty

Each contract calls your object twice, from several threads, and under other global random numbers. The answers must be
equal: otherwise the seed of an environment no longer decides its results. `draw_inputs` draws the inputs. Override it
if random numbers are no sensible states for your object.
"""

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import is_dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mopo_env.models.protocol import DynamicsModel, GaussianPrediction, Prediction

Answer = tuple[Tensor, ...]


class _Contract:
    """The tests that all three contracts share."""

    num_rows = (1, 7, 300)
    """Sizes of the batches. Some code treats many rows in another way."""
    observation_dim = 3
    action_dim = 2

    def make(self) -> Any:
        """Return the object to test; called once for each test."""
        raise NotImplementedError("make: return the model, the penalty or the rule to be tested.")

    def draw_inputs(self, subject: Any, num_rows: int, generator: torch.Generator) -> Any:
        """Return a batch of `num_rows` inputs for `subject`, which `make` returned."""
        raise NotImplementedError

    def answer(self, subject: Any, inputs: Any) -> Answer:
        """Call `subject`, and return the tensors of its answer. Each has one row for each row of the inputs."""
        raise NotImplementedError

    def test_the_same_question_has_the_same_answer(self) -> None:
        """If a call left state behind, one rollout would change another."""
        subject = self.make()
        for inputs in self._batches(subject):
            first, again = self.answer(subject, inputs), self.answer(subject, inputs)
            _expect_equal(first, again, "a second call gave other numbers")

    def test_global_generators_are_neither_read_nor_moved(self) -> None:
        """They belong to the user's program. Only the generator that is passed in may be used."""
        subject = self.make()
        for inputs in self._batches(subject):
            with _global_generators(1) as state:
                before = state()
                first = self.answer(subject, inputs)
                _expect(state() == before, "a global random generator was moved")
            with _global_generators(2):
                again = self.answer(subject, inputs)
            _expect_equal(first, again, "the answer depends on a global random generator")

    def test_inputs_are_not_written_to(self) -> None:
        """The rollouts continue from the same tensors."""
        subject = self.make()
        for inputs in self._batches(subject):
            parts = vars(inputs).values() if is_dataclass(inputs) else inputs
            tensors = tuple(part for part in parts if isinstance(part, Tensor))
            before = tuple(tensor.clone() for tensor in tensors)
            self.answer(subject, inputs)
            _expect_equal(tensors, before, "an input tensor was written to")

    def test_threads_do_not_disturb_each_other(self) -> None:
        """Rollouts may run in a thread beside the updates of an agent."""
        subject = self.make()
        batches = [inputs for _ in range(8) for inputs in self._batches(subject)]
        expected = [self.answer(subject, inputs) for inputs in batches]
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda inputs: self.answer(subject, inputs), batches))
        for first, second in zip(expected, found, strict=True):
            _expect_equal(first, second, "several threads at once gave other numbers than one")

    def _batches(self, subject: Any) -> list[Any]:
        return [self.draw_inputs(subject, rows, torch.Generator().manual_seed(rows)) for rows in self.num_rows]


class _RowContract(_Contract):
    """The tests of functions that return one value for each row."""

    def test_each_row_stands_for_itself(self) -> None:
        """A value must not depend on the other rows of the batch."""
        subject = self.make()
        inputs = self.draw_inputs(subject, 8, torch.Generator().manual_seed(8))
        (together,), (half,) = self.answer(subject, inputs), self.answer(subject, self.first_rows(inputs, 4))
        same = torch.allclose(together[:4].double(), half.double(), rtol=1e-4, atol=1e-5)
        _expect(same, "the values of the first rows change when the others are left out")

    def first_rows(self, inputs: Any, count: int) -> Any:
        """Return the first rows of the inputs."""
        return tuple(tensor[:count] for tensor in inputs)

    def _check(self, name: str, values: Any, num_rows: int, device: torch.device) -> None:
        _expect(isinstance(values, Tensor), f"{name}: found a {type(values).__name__}, expected a tensor")
        _expect(values.shape == (num_rows,), f"{name}: found shape {tuple(values.shape)}, expected ({num_rows},)")
        _expect(values.device == device, f"{name}: lies on {values.device}, the inputs on {device}")


class DynamicsModelContract(_Contract):
    """The contract of a `DynamicsModel`, which `make` returns. Widths and device are read from the model."""

    def draw_inputs(self, subject: Any, num_rows: int, generator: torch.Generator) -> Any:
        """Return normally distributed observations, and actions between −1 and 1."""
        observations = torch.randn((num_rows, subject.observation_dim), generator=generator)
        actions = 2.0 * torch.rand((num_rows, subject.action_dim), generator=generator) - 1.0
        return observations.to(subject.device), actions.to(subject.device)

    def answer(self, subject: Any, inputs: Any) -> Answer:
        """Return next observations and rewards that are drawn with a fixed seed."""
        sample: Answer = subject.predict(*inputs).sample(torch.Generator(subject.device).manual_seed(0))
        return sample

    def test_it_offers_what_a_model_must(self) -> None:
        """It has the attributes of `mopo_env.models.protocol.DynamicsModel`."""
        model = self.make()
        _expect(isinstance(model, DynamicsModel), "lacks predict, observation_dim, action_dim or device")
        _expect(isinstance(model.device, torch.device), f"device: found {model.device!r}, expected a torch.device")

    def test_a_prediction_holds_what_was_asked(self) -> None:
        """Penalties read observations and actions from the prediction."""
        model = self.make()
        for inputs in self._batches(model):
            said = model.predict(*inputs)
            _expect(isinstance(said, Prediction), "predict: the answer lacks observations, actions or sample")
            held = (said.observations, said.actions)
            _expect_equal(held, inputs, "the prediction holds other observations or actions than the inputs")

    def test_draws_are_finite_and_of_the_shapes_of_the_batch(self) -> None:
        """Rewards of shape (batch, 1) would broadcast to (batch, batch)."""
        model = self.make()
        for inputs in self._batches(model):
            rows = len(inputs[0])
            shapes = ("next observations", (rows, model.observation_dim)), ("rewards", (rows,))
            for (name, shape), drawn in zip(shapes, self.answer(model, inputs), strict=True):
                _expect(drawn.shape == shape, f"{name}: found shape {tuple(drawn.shape)}, expected {shape}")
                _expect(drawn.dtype == torch.float32, f"{name}: found {drawn.dtype}, expected torch.float32")
                _expect(drawn.device == model.device, f"{name}: lie on {drawn.device}, the model on {model.device}")
                _expect(bool(drawn.isfinite().all()), f"{name}: found numbers that are not finite")


class PenaltyContract(_RowContract):
    """The contract of a `Penalty`, which `make` returns. Its input is a prediction."""

    def draw_inputs(self, subject: Any, num_rows: int, generator: torch.Generator) -> Any:
        """Return a prediction of three members. For other predictions, override this and `first_rows`."""
        observations = torch.randn((num_rows, self.observation_dim), generator=generator)
        outputs = (3, num_rows, self.observation_dim + 1)
        return GaussianPrediction(
            observations=observations,
            actions=2.0 * torch.rand((num_rows, self.action_dim), generator=generator) - 1.0,
            mean=torch.randn(outputs, generator=generator),
            std=0.1 + torch.rand(outputs, generator=generator),
            elites=torch.tensor([2, 0]),
            target_std=torch.ones(self.observation_dim + 1),
        )

    def first_rows(self, inputs: Any, count: int) -> Any:
        """Return a prediction of the first rows."""
        return replace(
            inputs,
            observations=inputs.observations[:count],
            actions=inputs.actions[:count],
            mean=inputs.mean[:, :count],
            std=inputs.std[:, :count],
        )

    def answer(self, subject: Any, inputs: Any) -> Answer:
        """Return u(s, a)."""
        return (subject(inputs),)

    def test_it_is_one_finite_number_a_row_and_never_negative(self) -> None:
        """A negative penalty would reward uncertainty, and a non-finite one would end the rollout."""
        penalty = self.make()
        for inputs in self._batches(penalty):
            (values,) = self.answer(penalty, inputs)
            self._check("penalty", values, len(inputs.observations), inputs.observations.device)
            _expect(values.is_floating_point(), f"penalty: found {values.dtype}, expected floating-point numbers")
            _expect(bool(values.isfinite().all()), "penalty: found numbers that are not finite")
            _expect(bool((values >= 0).all()), f"penalty: found {float(values.min()):g}, expected none below 0")


class TerminationContract(_RowContract):
    """The contract of a `Termination`, which `make` returns. Set `observation_dim` and `action_dim` to its widths."""

    def draw_inputs(self, subject: Any, num_rows: int, generator: torch.Generator) -> Any:
        """Return observations, actions and next observations. For discrete actions, override this."""
        observations, following = torch.randn((2, num_rows, self.observation_dim), generator=generator)
        return observations, 2.0 * torch.rand((num_rows, self.action_dim), generator=generator) - 1.0, following

    def answer(self, subject: Any, inputs: Any) -> Answer:
        """Return the flags."""
        return (subject(*inputs),)

    def test_it_is_one_boolean_a_row(self) -> None:
        """The environment refuses flags that are not booleans."""
        rule = self.make()
        for inputs in self._batches(rule):
            (flags,) = self.answer(rule, inputs)
            self._check("termination", flags, len(inputs[0]), inputs[0].device)
            _expect(flags.dtype == torch.bool, f"termination: found {flags.dtype}, expected torch.bool")


def _expect(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(f"{message}.")


def _expect_equal(found: Answer, expected: Answer, message: str) -> None:
    _expect(all(torch.equal(first, second) for first, second in zip(found, expected, strict=True)), message)


@contextmanager
def _global_generators(seed: int) -> Iterator[Callable[[], object]]:
    """Seed the global generators, yield a function that returns their state, and restore them at the end."""
    saved = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    torch.set_rng_state(torch.Generator().manual_seed(seed).get_state())
    other: Any = np.random.MT19937(seed).state
    np.random.set_state(other)  # noqa: NPY002
    random.setstate(random.Random(seed).getstate())  # noqa: S311
    try:
        yield lambda: (torch.get_rng_state().tolist(), repr(np.random.get_state()), random.getstate())  # noqa: NPY002
    finally:
        torch.set_rng_state(saved[0])
        np.random.set_state(saved[1])  # noqa: NPY002
        random.setstate(saved[2])
