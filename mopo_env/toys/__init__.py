"""Small systems with known answers, on which a penalty, a termination rule or an agent can be unit-tested."""

from mopo_env.toys.linear_gaussian import LinearGaussianSystem
from mopo_env.toys.stub import StubEnsemble
from mopo_env.toys.tabular import TabularMDP, TabularModel, TabularPrediction, tabular_error

__all__ = [
    "LinearGaussianSystem",
    "StubEnsemble",
    "TabularMDP",
    "TabularModel",
    "TabularPrediction",
    "tabular_error",
]
