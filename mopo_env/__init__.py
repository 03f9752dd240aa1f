"""MOPO: turn a fixed dataset into a Gymnasium environment that an agent can train on.

`import mopo_env` registers the ids, such as ``gymnasium.make("MOPO-halfcheetah-mixed")``. The public names are imported
at their first use, so importing the package is quick. Read `envs`, then `penalties`, then `models`, then `datasets`.
"""

from typing import TYPE_CHECKING

from mopo_env._utils.lazy import lazy_names
from mopo_env.tasks import register_all

if TYPE_CHECKING:
    from mopo_env.datasets.card.card import DatasetCard, dataset_card
    from mopo_env.datasets.d4rl import load_d4rl
    from mopo_env.datasets.files import load_transitions, save_transitions
    from mopo_env.datasets.locate import load_dataset, resolve_task
    from mopo_env.datasets.minari.reader import load_minari, save_minari
    from mopo_env.datasets.relabel import relabel
    from mopo_env.datasets.tables.reader import load_table
    from mopo_env.envs.env import PenalizedModelEnv
    from mopo_env.envs.make import make_env, make_penalized_model, make_vector_env
    from mopo_env.envs.penalized_model import PenalizedModel
    from mopo_env.envs.vector_env import PenalizedModelVectorEnv
    from mopo_env.models.card.card import model_card
    from mopo_env.models.card.scores import ModelCard
    from mopo_env.models.ensemble import GaussianEnsemble, load_ensemble, save_ensemble
    from mopo_env.models.fit import fit_ensemble
    from mopo_env.models.fit_config import FitConfig
    from mopo_env.models.function_model import FunctionModel
    from mopo_env.penalties import error_estimator, make_penalty
    from mopo_env.penalties.oracle import OraclePenalty
    from mopo_env.real.true_dynamics import TrueDynamics
    from mopo_env.tasks import TASKS, Task, get_task
    from mopo_env.terminations.config import TerminationConfig
    from mopo_env.terminations.fit import fit_termination
    from mopo_env.terminations.learned import LearnedTermination, load_termination, save_termination
    from mopo_env.transitions import Episode, Transitions

__version__ = "0.2.0"

_HOMES = {
    "mopo_env.datasets.card.card": ("DatasetCard", "dataset_card"),
    "mopo_env.datasets.d4rl": ("load_d4rl",),
    "mopo_env.datasets.files": ("load_transitions", "save_transitions"),
    "mopo_env.datasets.minari.reader": ("load_minari", "save_minari"),
    "mopo_env.datasets.relabel": ("relabel",),
    "mopo_env.datasets.tables.reader": ("load_table",),
    "mopo_env.models.card.card": ("model_card",),
    "mopo_env.models.card.scores": ("ModelCard",),
    "mopo_env.models.ensemble": ("GaussianEnsemble", "load_ensemble", "save_ensemble"),
    "mopo_env.envs.env": ("PenalizedModelEnv",),
    "mopo_env.models.fit": ("fit_ensemble",),
    "mopo_env.models.fit_config": ("FitConfig",),
    "mopo_env.models.function_model": ("FunctionModel",),
    "mopo_env.terminations.learned": ("LearnedTermination", "load_termination", "save_termination"),
    "mopo_env.envs.make": ("make_env", "make_penalized_model", "make_vector_env"),
    "mopo_env.penalties.oracle": ("OraclePenalty",),
    "mopo_env.datasets.locate": ("load_dataset", "resolve_task"),
    "mopo_env.penalties": ("error_estimator", "make_penalty"),
    "mopo_env.terminations.fit": ("fit_termination",),
    "mopo_env.envs.penalized_model": ("PenalizedModel",),
    "mopo_env.tasks": ("TASKS", "Task", "get_task"),
    "mopo_env.terminations.config": ("TerminationConfig",),
    "mopo_env.transitions.episodes": ("Episode",),
    "mopo_env.transitions.transitions": ("Transitions",),
    "mopo_env.real.true_dynamics": ("TrueDynamics",),
    "mopo_env.envs.vector_env": ("PenalizedModelVectorEnv",),
}

__all__ = [
    "TASKS",
    "DatasetCard",
    "Episode",
    "FitConfig",
    "FunctionModel",
    "GaussianEnsemble",
    "LearnedTermination",
    "ModelCard",
    "OraclePenalty",
    "PenalizedModel",
    "PenalizedModelEnv",
    "PenalizedModelVectorEnv",
    "Task",
    "TerminationConfig",
    "Transitions",
    "TrueDynamics",
    "__version__",
    "dataset_card",
    "error_estimator",
    "fit_ensemble",
    "fit_termination",
    "get_task",
    "load_d4rl",
    "load_dataset",
    "load_ensemble",
    "load_minari",
    "load_table",
    "load_termination",
    "load_transitions",
    "make_env",
    "make_penalized_model",
    "make_penalty",
    "make_vector_env",
    "model_card",
    "relabel",
    "resolve_task",
    "save_ensemble",
    "save_minari",
    "save_termination",
    "save_transitions",
]


__getattr__, __dir__ = lazy_names(__name__, _HOMES)

register_all()
