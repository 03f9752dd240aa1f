"""The identity of a run: a digest of everything that changes its result, and the record in config.json."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from typing import Any

from torch import nn

from mopo_agents.agents import agent_name
from mopo_agents.runs.config import ROLES
from mopo_agents.runs.resolve import ResolvedRun
from mopo_env._utils.json_files import canonical_digest, json_ready
from mopo_env._utils.references import is_reference, source_digest
from mopo_env._utils.store import library_versions
from mopo_env.envs.penalized_model import PenalizedModel
from mopo_env.models.fit_config import FitConfig
from mopo_env.transitions import Transitions

_CODE = ("penalty", "termination")

# The options that define the network. A method does not define how long or how fast it is optimised.
_NETWORK_OPTIONS = ("num_members", "num_elites", "hidden_sizes", "lipschitz")


def describe(run: ResolvedRun, transitions: Transitions, penalized_model: PenalizedModel | None) -> dict[str, Any]:
    """Return the content of ``config.json``: all resolved options, the inputs of the run, and its identity.

    Options that do not apply to the agent are null. Runs with the same identity differ only in their seed.

    Without a `penalized_model`, the agent learns from the dataset alone.
    """
    model = None if penalized_model is None else penalized_model.model
    rule = None if penalized_model is None else penalized_model.termination
    metadata: dict[str, Any] = getattr(model, "metadata", {})
    options = run.options
    made_of = {
        "agent": agent_name(run.agent_class),
        "method": run.method.name,
        # The name of the user's own data is a path. The fingerprint identifies their content.
        "task": None if run.task.recipe is None else run.task.name,
        "real_env": run.task.real_env_id,
        "dataset_fingerprint": transitions.fingerprint,
        "ensemble_digest": module_digest(model) if isinstance(model, nn.Module) else None,
        "termination_digest": module_digest(rule) if isinstance(rule, nn.Module) else None,
        "evaluation_seeds": "of seed and epoch",
        # The user's own code, named as module:function. What it imports is not looked at.
        **{f"{name}_source": source_digest(options[name]) for name in _CODE if is_reference(options[name])},
    }
    chosen = {name: options[name] for name, role in ROLES.items() if role in ("method", "size", "evaluation")}
    return {
        **options,
        **made_of,
        "task": run.task.name,
        # As the user gave it: None is the task's own data, also on another machine.
        "dataset": run.config.dataset,
        "dataset_task": transitions.metadata.get("task") or transitions.metadata.get("name"),
        "columns": transitions.metadata.get("columns"),
        "fit": metadata.get("config"),
        # What follows from the options, the data and the ensemble.
        "lambda": None if penalized_model is None else penalized_model.penalty_coef,
        "price_of_leaving": None if penalized_model is None else penalized_model.envelope.exit_reward,
        "changed": {**run.changed, **_changes_of_ensemble(run, transitions, metadata)},
        "identity": digest({"made of": made_of, "options": chosen}),
        "versions": library_versions(),
    }


def digest(content: Any) -> str:
    """Return the SHA-256 of JSON data. The order of keys does not matter, and 1 equals 1.0."""
    return canonical_digest(_canonical(json_ready(content)))


def module_digest(module: nn.Module) -> str:
    """Return the SHA-256 of a network's tensors. It does not depend on the device."""
    found = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        array = tensor.detach().cpu().numpy()
        found.update(f"{name}{array.dtype}{array.shape}".encode())
        found.update(array.tobytes())
    return found.hexdigest()


def _canonical(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _canonical(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_canonical(entry) for entry in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _changes_of_ensemble(run: ResolvedRun, transitions: Transitions, metadata: dict[str, Any]) -> dict[str, Any]:
    """Return how the ensemble differs from the method's."""
    fit = metadata.get("config")
    if not isinstance(fit, dict):
        return {}
    default, expected = json_ready(asdict(FitConfig())), json_ready(asdict(FitConfig(**run.method.fit)))
    found = {name: json_ready(fit.get(name, default[name])) for name in _NETWORK_OPTIONS}
    changed = {f"fit.{name}": value for name, value in found.items() if value != expected[name]}
    other_data = metadata.get("dataset_fingerprint") not in (None, transitions.fingerprint)
    return {**changed, **({"ensemble": "of other data"} if other_data else {})}
