"""`LearnedTermination`: a termination rule that is learned from recorded terminal states."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from mopo_env._utils.options import check_choice, check_integer, check_tuple
from mopo_env._utils.tensors import load_module, save_module
from mopo_env.errors import ConfigError, StoreError
from mopo_env.models.layers import EnsembleLinear
from mopo_env.terminations.config import TerminationInputs
from mopo_env.terminations.rules import Actions, Flags, States

_NAME = "termination"
# The activations of this many rows fit the second-level cache.
_ROWS_PER_CHUNK = 2048


class LearnedTermination(nn.Module):
    """A `Termination` that compares the mean P(terminal | s, a, s′) of several classifiers with a threshold.

    Each classifier is a small multi-layer perceptron with SiLU activations. Their weights are stacked. By default they
    read only s′, since in nearly every system s′ decides whether it is terminal.

    Attributes:
        observation_dim: Width of an observation.
        action_dim: Width of an action, or the number of discrete actions.
        first_action: The lowest discrete action; None where actions are vectors.
        inputs: What the rule reads: ``"next-observation"`` is s′, ``"transition"`` is s, a and s′.
        num_members: Number of classifiers.
        hidden_sizes: Widths of the hidden layers.
        threshold: A next state is terminal above this probability.
        metadata: How the rule was fitted and how well it performs; anything JSON can hold.
    """

    threshold: Tensor
    input_mean: Tensor
    input_std: Tensor

    def __init__(
        self,
        observation_dim: int,
        action_dim: int,
        *,
        first_action: int | None = None,
        inputs: str = "next-observation",
        num_members: int = 5,
        hidden_sizes: Sequence[int] = (64, 64),
        generator: torch.Generator | None = None,
    ) -> None:
        """Initialise the weights. The other arguments are described at the class.

        The `generator`, on the CPU, draws the weights; default: one with seed 0.

        Raises:
            ConfigError: If a size is not a positive integer, or `inputs` is unknown.
        """
        super().__init__()
        self.inputs = check_choice("inputs", inputs, TerminationInputs)
        self.observation_dim = check_integer("observation_dim", observation_dim)
        self.action_dim = check_integer("action_dim", action_dim)
        if not (first_action is None or type(first_action) is int):
            raise ConfigError(f"first_action: expected an integer or None, found {first_action!r}.")
        self.first_action = first_action
        self.num_members = check_integer("num_members", num_members)
        self.hidden_sizes: tuple[int, ...] = check_tuple("hidden_sizes", hidden_sizes, check_integer)
        self.metadata: dict[str, Any] = {}
        input_dim = self.observation_dim
        if inputs == "transition":
            input_dim = 2 * self.observation_dim + self.action_dim
        generator = generator or torch.Generator().manual_seed(0)
        self.layers = nn.ModuleList(
            EnsembleLinear(num_members, fan_in, fan_out, generator)
            for fan_in, fan_out in itertools.pairwise((input_dim, *self.hidden_sizes, 1))
        )
        self.register_buffer("input_mean", torch.zeros(input_dim))
        self.register_buffer("input_std", torch.ones(input_dim))
        self.register_buffer("threshold", torch.tensor(0.5))

    def forward(self, observations: States, actions: Actions, next_observations: States) -> Flags:
        """Return which next states are terminal; all arguments are in raw units."""
        return self.probability(observations, actions, next_observations) > self.threshold

    @torch.no_grad()
    def probability(self, observations: States, actions: Actions, next_observations: States) -> Float[Tensor, " batch"]:
        """Return the mean over members of P(terminal | s, a, s′); all arguments are in raw units."""
        inputs = self.normalise(self.select(observations, actions, next_observations))
        chunks = [
            self.logits(chunk.expand(self.num_members, *chunk.shape)).sigmoid().mean(dim=0)
            for chunk in torch.split(inputs, _ROWS_PER_CHUNK)
        ]
        return torch.cat(chunks)

    def select(self, observations: States, actions: Actions, next_observations: States) -> Float[Tensor, "batch input"]:
        """Return the columns that the rule reads, in raw units."""
        if self.inputs == "next-observation":
            return next_observations
        if self.first_action is not None:  # one-hot, since no discrete action lies between two others
            actions = functional.one_hot(actions - self.first_action, self.action_dim).to(observations.dtype)
        return torch.cat([observations, actions, next_observations], dim=1)

    def normalise(self, inputs: Float[Tensor, "batch input"]) -> Float[Tensor, "batch input"]:
        """Scale raw columns to zero mean and unit variance over the training data."""
        return (inputs - self.input_mean) / self.input_std

    def logits(self, inputs: Float[Tensor, "member batch input"]) -> Float[Tensor, "member batch"]:
        """Evaluate each member on its own batch, normalised by `normalise`."""
        features = inputs
        for layer in self.layers[:-1]:
            features = functional.silu(layer(features))
        logits: Tensor = self.layers[-1](features)
        return logits[..., 0]


def save_termination(rule: LearnedTermination, folder: Path | str) -> Path:
    """Write a rule into a folder as ``termination.json`` and a safetensors file.

    Raises:
        StoreError: If the folder cannot be written.
    """
    sizes = ("observation_dim", "action_dim", "first_action", "inputs", "num_members", "hidden_sizes")
    return save_module(rule, folder, _NAME, sizes)


def load_termination(folder: Path | str, *, device: torch.device | str = "cpu") -> LearnedTermination:
    """Read what `save_termination` wrote.

    Raises:
        StoreError: If the files are missing, damaged, or do not fit the architecture they name.
    """
    rule = load_module(folder, _NAME, "termination rule", lambda tensors, **sizes: LearnedTermination(**sizes))
    if not 0.0 <= float(rule.threshold) <= 1.0:
        raise StoreError(f"{folder}: the threshold {float(rule.threshold)} is not a probability. Fit the rule again.")
    return rule.to(device)
