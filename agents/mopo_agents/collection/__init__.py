"""Collect datasets in the real environments, by the recipes of the paper's tasks.

A behaviour policy is trained (`behaviour`), with everything that a training run needs to go on bit for bit after it was
killed (`checkpoint`), and rolled out (`rollouts`), or its replay buffer is taken as it is (`replay_rows`). `recipes`
says which of it a task needs, and `collector` carries it out.
"""

from mopo_agents.collection.behaviour import Behaviour, train_behaviour
from mopo_agents.collection.collector import collect
from mopo_agents.collection.recipes import RECIPES
from mopo_agents.collection.replay_rows import transitions_from_replay_buffer
from mopo_agents.collection.rollouts import roll_out

__all__ = ["RECIPES", "Behaviour", "collect", "roll_out", "train_behaviour", "transitions_from_replay_buffer"]
