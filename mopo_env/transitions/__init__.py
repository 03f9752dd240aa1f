"""`Transitions`: the one in-memory form of a dataset, D_env in the paper."""

from mopo_env.transitions.episodes import Episode as Episode
from mopo_env.transitions.transitions import Transitions as Transitions
