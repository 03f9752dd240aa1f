"""Where transitions come from: our own files, the bundled ones, Minari, D4RL, tables."""

from mopo_env.datasets.files import load_transitions, save_transitions
from mopo_env.datasets.locate import bundled_folder, find_dataset, user_folder

__all__ = ["bundled_folder", "find_dataset", "load_transitions", "save_transitions", "user_folder"]
