"""Arrays of callers are refused by name, or copied to float32: environments and rollouts rely on it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mopo_env._utils.arrays import check_array
from mopo_env.errors import InputError


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (0.0, r"x: found shape \(\) of type float64, expected \(2, 1\)"),
        (np.zeros(2), r"x: found shape \(2,\)"),
        (np.zeros((3, 1)), r"x: found shape \(3, 1\)"),
        (np.zeros((2, 2)), r"x: found shape \(2, 2\)"),
        (np.zeros((2, 1), bool), "x: .* of type bool"),
        (np.zeros((2, 1), complex), "x: .* of type complex128"),
        (np.full((2, 1), "0"), "x: .* of type <U1"),
        (np.full((2, 1), None), "x: .* of type object"),
        (None, "x: .* of type object"),
        ([[0.0], [np.nan]], r"x: every number must be finite in float32, found \[nan\]"),
        ([[0.0], [-np.inf]], "x: every number must be finite"),
        ([[1e300], [0.0]], "x: every number must be finite"),
    ],
    ids=repr,
)
def test_what_is_no_array_of_numbers_is_refused_by_name(values: Any, message: str) -> None:
    """A wrong shape would broadcast, and NaN would be taken for a model that broke down."""
    with pytest.raises(InputError, match=message):
        check_array("x", values, (2, 1))


@pytest.mark.parametrize(
    "values", [np.zeros(1), np.zeros(1, np.int64), [0], torch.zeros(1)], ids=lambda v: str(type(v))
)
def test_other_real_numbers_are_converted(values: Any) -> None:
    """Whatever a policy returns, the model computes in float32."""
    assert check_array("x", values, (1,)).dtype == np.float32


def test_the_result_is_a_copy() -> None:
    """Shared memory would let a caller move a state it no longer owns; read-only arrays must do as well."""
    given = np.array([1.0, 2.0], dtype=np.float32)
    given.setflags(write=False)
    found = check_array("x", given, (2,))
    assert not np.shares_memory(found, given)
    assert found.flags.writeable
    assert found.tolist() == [1.0, 2.0]
