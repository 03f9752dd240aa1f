"""Write a policy as one file that acts without this project: ONNX, or a program of `torch.export`.

TorchScript is not offered: PyTorch 2.13 has deprecated it in favour of `torch.export`.
"""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from gymnasium.spaces import Box
from stable_baselines3.common.policies import BasePolicy
from torch import Tensor, nn

from mopo_agents._utils.outputs import write_output
from mopo_agents.policies import load_policy
from mopo_env._utils.json_files import json_ready, read_json
from mopo_env._utils.options import check_choice
from mopo_env._utils.spaces import ActionSpace
from mopo_env._utils.store import library_versions, read_artifact
from mopo_env.errors import ConfigError, require_extra

ExportFormat = Literal["onnx", "torch"]
_LARGEST_ERROR = 1e-5  # of the width of the action space


def export_policy(folder: Path | str, path: Path | str, *, format: ExportFormat = "onnx") -> None:
    """Write a saved policy as a function from observations to actions.

    Its input ``observation`` has the shape (batch, observation), its output ``action`` the shape (batch, action), or
    (batch,) for discrete actions. Both are in raw units: the real environment's. Actions are deterministic, those of
    `predict` with ``deterministic=True``. The file's metadata say of which agent, task and spaces it is.

    Args:
        folder: A training run's folder, or one of its checkpoints.
        path: The file, which is replaced.
        format: ``"onnx"``, for ONNX Runtime and others, or ``"torch"``, for `torch.export.load`.

    Raises:
        ConfigError: If the format is unknown, or the policy cannot be exported, such as those of SBX.
        StoreError: If there is no policy, it is damaged, or the file cannot be written.
        MissingExtraError: If a package is missing.
    """
    check_choice("format", format, choices=ExportFormat)
    policy, saved = load_policy(folder), read_artifact(folder, "policy")[1]
    if not isinstance(policy, BasePolicy):
        raise ConfigError(
            f"{folder}: a policy of {saved['agent']} cannot be exported, because it computes with JAX. Load it with "
            "mopo_agents.load_policy, or train the agent of the same name without SBX-."
        )
    if format == "onnx":
        require_extra("onnxscript", "export")
    program = _program(policy, str(saved["agent"]))
    described = {name: json.dumps(value) for name, value in _description(policy, saved, Path(folder)).items()}
    write_output(Path(path), _onnx(program, described) if format == "onnx" else _torch(program, described))


class _Actions(nn.Module):
    """A policy as a function of tensors, with the last step of Stable-Baselines3's `predict`, which is in NumPy."""

    low: Tensor
    high: Tensor

    def __init__(self, policy: BasePolicy) -> None:
        super().__init__()
        space: Any = policy.action_space
        self._is_box, self._squashed = isinstance(space, Box), policy.squash_output
        if isinstance(space, Box):
            self.register_buffer("low", torch.from_numpy(space.low.copy()))
            self.register_buffer("high", torch.from_numpy(space.high.copy()))
        self._policy = policy

    def forward(self, observation: Tensor) -> Tensor:
        actions = self._policy._predict(observation, deterministic=True)
        if not self._is_box:
            return actions.reshape(-1)
        if self._squashed:
            return self.low + 0.5 * (actions + 1.0) * (self.high - self.low)
        return torch.maximum(torch.minimum(actions, self.high), self.low)


def _program(policy: BasePolicy, agent: str) -> torch.export.ExportedProgram:
    """Record what a policy computes, and check that this is what it does."""
    space: Any = policy.observation_space
    # A number of rows that no other size of a policy equals: PyTorch would take the one for the other.
    observations = np.random.default_rng(0).normal(size=(113, *space.shape)).astype(np.float32)
    expected, _ = policy.predict(observations, deterministic=True)
    try:
        with _quiet(), torch.no_grad():
            program = torch.export.export(
                _Actions(policy).eval().requires_grad_(False),
                (torch.from_numpy(observations),),
                dynamic_shapes=({0: torch.export.Dim("batch")},),
            )
            found = program.module()(torch.from_numpy(observations)).numpy()
    except Exception as error:  # PyTorch raises almost anything where it cannot follow the code
        raise ConfigError(
            f"a policy of {agent} cannot be exported: {type(error).__name__}: {str(error).splitlines()[0]}. Load it "
            "with mopo_agents.load_policy instead."
        ) from error
    space = policy.action_space
    width = space.high - space.low if isinstance(space, Box) else 1
    if found.shape != expected.shape or (np.abs(found - expected) > _LARGEST_ERROR * width).any():
        raise ConfigError(f"a policy of {agent} cannot be exported: the recorded program acts otherwise.")
    return program


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out what PyTorch says while it exports. It cannot follow the checks of distributions, so these rest."""
    checks = torch.distributions.Distribution._validate_args
    loggers = [logging.getLogger(name) for name in ("torch", "torch.onnx", "onnxscript")]
    levels = [logger.level for logger in loggers]
    torch.distributions.Distribution.set_default_validate_args(False)
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.distributions.Distribution.set_default_validate_args(checks)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _onnx(program: torch.export.ExportedProgram, described: Mapping[str, str]) -> bytes:
    with _quiet():
        exported = torch.onnx.export(
            program, dynamo=True, input_names=["observation"], output_names=["action"], verbose=False
        )
    model = exported.model_proto  # type: ignore[union-attr]  # it is None only where a file is written
    for name, value in described.items():
        model.metadata_props.add(key=name, value=value)
    return bytes(model.SerializeToString())


def _torch(program: torch.export.ExportedProgram, described: Mapping[str, str]) -> bytes:
    stream = io.BytesIO()
    with _quiet():
        torch.export.save(program, stream, extra_files=dict(described))
    return stream.getvalue()


def _description(policy: BasePolicy, saved: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    spaces: dict[str, Any] = {"observation_space": policy.observation_space, "action_space": policy.action_space}
    return {
        **{name: saved.get(name) for name in ("agent", "task", "trained_on", "epoch")},
        "columns": _columns(folder),
        **{name: _space(space) for name, space in spaces.items()},
        "versions": library_versions(),
    }


def _columns(folder: Path) -> Any:
    """Return the names of the columns of the run's data, if they had names. A checkpoint is two folders deep."""
    for run in (folder, *folder.absolute().parents[1:2]):
        if (run / "config.json").is_file():
            return read_json(run / "config.json").get("columns")
    return None


def _space(space: ActionSpace) -> dict[str, Any]:
    """Return a space as JSON data; an infinite bound is None."""
    if not isinstance(space, Box):
        return {"type": "Discrete", "n": int(space.n), "start": int(space.start)}
    bounds = {
        name: [float(bound) if np.isfinite(bound) else None for bound in values]
        for name, values in (("low", space.low), ("high", space.high))
    }
    found: dict[str, Any] = json_ready({"type": "Box", "shape": space.shape, **bounds})
    return found
