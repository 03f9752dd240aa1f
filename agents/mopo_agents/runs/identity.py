"""The identity of a run: one digest of everything that changes its result, and the record that holds it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import Any

from torch import nn

from mopo_agents.agents import agent_name
from mopo_agents.runs.config import ROLES
from mopo_agents.runs.resolve import ResolvedRun
from mopo_env._utils.store import json_ready, library_versions
from mopo_env.envs.penalized_model import PenalizedModel
from mopo_env.models.fit_config import FitConfig
from mopo_env.transitions import Transitions

__all__ = ["describe", "digest", "module_digest"]

# What network is fitted. How long and how fast it is optimised is left to whoever fits the dataset's ensemble.
_NETWORK_OPTIONS = ("num_members", "num_elites", "hidden_sizes", "lipschitz")


def describe(run: ResolvedRun, transitions: Transitions, penalized_model: PenalizedModel | None) -> dict[str, Any]:
    """Return what ``config.json`` holds: every choice as it was resolved, what it was made of, and the identity.

    Options that the agent has no use for are null. Runs of one identity are seeds of one another.

    Args:
        run: The run.
        transitions: D_env.
        penalized_model: What the agent trains in; None: it learns from the dataset alone.
    """
    model = None if penalized_model is None else penalized_model.model
    rule = None if penalized_model is None else penalized_model.termination
    metadata: dict[str, Any] = getattr(model, "metadata", {})
    options = run.options
    if penalized_model is not None and run.config.halt_threshold is not None:
        options["halt_reward"] = penalized_model.halt_reward
    made_of = {
        "agent": agent_name(run.agent_class),
        "method": run.method.name,
        # The name of own data is their path; what they are is in their fingerprint.
        "task": None if run.task.recipe is None else run.task.name,
        "real_env": run.task.real_env_id,
        "dataset_fingerprint": transitions.fingerprint,
        "ensemble_digest": module_digest(model) if isinstance(model, nn.Module) else None,
        "termination_digest": module_digest(rule) if isinstance(rule, nn.Module) else None,
        "evaluation_seeds": "of seed and epoch",
    }
    chosen = {name: options[name] for name, role in ROLES.items() if role in ("method", "size", "evaluation")}
    return {
        **options,
        **made_of,
        "task": run.task.name,
        # As it was given: None is the task's own, and stays so where the run is repeated.
        "dataset": run.config.dataset,
        "dataset_task": transitions.metadata.get("task") or transitions.metadata.get("name"),
        "fit": metadata.get("config"),
        "changed": {**run.changed, **_changes_of_ensemble(run, transitions, metadata)},
        "identity": digest({"made of": made_of, "options": chosen}),
        "versions": library_versions(),
    }


def digest(content: Any) -> str:
    """Return the SHA-256 of what JSON can hold, whatever the order of its keys; 1 and 1.0 are the same number."""
    text = json.dumps(_canonical(json_ready(content)), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def module_digest(module: nn.Module) -> str:
    """Return the SHA-256 of a network's tensors; equal content has an equal digest on every device."""
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
    """Return in what the ensemble is another than the method's."""
    fit = metadata.get("config")
    if not isinstance(fit, dict):
        return {}
    default, expected = json_ready(asdict(FitConfig())), json_ready(asdict(FitConfig(**run.method.fit)))
    found = {name: json_ready(fit.get(name, default[name])) for name in _NETWORK_OPTIONS}
    changed = {f"fit.{name}": value for name, value in found.items() if value != expected[name]}
    other_data = metadata.get("dataset_fingerprint") not in (None, transitions.fingerprint)
    return {**changed, **({"ensemble": "of other data"} if other_data else {})}
