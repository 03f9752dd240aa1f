"""Where transitions come from: our own files, the bundled ones, Minari, D4RL, tables."""

from mopo_env.datasets.files import load_transitions, save_transitions
from mopo_env.datasets.folders import bundled_folder, user_folder
from mopo_env.datasets.locate import load_dataset

__all__ = ["bundled_folder", "load_dataset", "load_transitions", "save_transitions", "user_folder"]
