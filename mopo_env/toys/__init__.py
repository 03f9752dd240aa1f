"""Small systems with known answers, for unit tests of penalties, termination rules and agents.

Read `stub` first, an ensemble with given predictions. `linear_gaussian` and `tabular` are systems whose returns can be
computed exactly. `metrics` has distances between distributions over the states of a table.
"""

from mopo_env.toys.linear_gaussian import LinearGaussianSystem
from mopo_env.toys.stub import StubEnsemble
from mopo_env.toys.tabular import TabularMDP, TabularModel, TabularPrediction, tabular_error

__all__ = ["LinearGaussianSystem", "StubEnsemble", "TabularMDP", "TabularModel", "TabularPrediction", "tabular_error"]
