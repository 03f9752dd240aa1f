"""`GaussianEnsemble`: N probabilistic neural networks evaluated as one."""

import copy
import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from mopo_env._utils.options import Precision, check_choice, check_integer, check_tuple
from mopo_env._utils.tensors import load_module, save_module
from mopo_env.errors import StoreError
from mopo_env.models.layers import MANY_ROWS, EnsembleLinear, evaluate_at_once, evaluate_by_member, evaluate_each
from mopo_env.models.protocol import Actions, GaussianPrediction, Observations

_NAME = "ensemble"


class GaussianEnsemble(nn.Module):
    """T̂ᵢ(s′, r | s, a) = N(μᵢ(s, a), Σᵢ(s, a)) for i = 1…N, with diagonal Σᵢ (paper, section 4.3).

    Each member is a multi-layer perceptron with SiLU activations. Its two heads predict the mean and the log-variance
    of the change of the observation and of the reward. Members share only the bounds of the log-variance and the
    scaling of the inputs. Their weights are stacked, so that one batched product evaluates all members.

    Attributes:
        observation_dim: Width of an observation.
        action_dim: Width of an action.
        num_members: N.
        hidden_sizes: Widths of the hidden layers.
        elites: Indices of the members from which next states are drawn.
        target_std: Standard deviations of the changes and rewards of the training data, raw units.
        metadata: How the ensemble was fitted; anything JSON can hold.
        precision: Precision between hidden layers in `predict`. With bfloat16 large batches take two thirds of the
            time, and means differ by some hundredths of a standard deviation.
    """

    elites: Tensor
    input_mean: Tensor
    input_std: Tensor
    target_std: Tensor

    def __init__(
        self,
        observation_dim: int,
        action_dim: int,
        *,
        num_members: int = 7,
        hidden_sizes: Sequence[int] = (200, 200, 200, 200),
        generator: torch.Generator | None = None,
    ) -> None:
        """Initialise the weights as the paper's code does. The sizes are described at the class.

        The `generator`, on the CPU, draws the weights; default: one with seed 0.

        Raises:
            ConfigError: If a size is not a positive integer.
        """
        super().__init__()
        self.observation_dim = check_integer("observation_dim", observation_dim)
        self.action_dim = check_integer("action_dim", action_dim)
        self.num_members = check_integer("num_members", num_members)
        self.hidden_sizes: tuple[int, ...] = check_tuple("hidden_sizes", hidden_sizes, check_integer)
        self.metadata: dict[str, Any] = {}
        self.precision: Precision = "float32"
        input_dim, output_dim = self.observation_dim + self.action_dim, self.observation_dim + 1
        widths = (input_dim, *self.hidden_sizes)
        generator = generator or torch.Generator().manual_seed(0)
        self.hidden = nn.ModuleList(
            EnsembleLinear(num_members, fan_in, fan_out, generator) for fan_in, fan_out in itertools.pairwise(widths)
        )
        self.mean_head = EnsembleLinear(num_members, widths[-1], output_dim, generator)
        self.logvar_head = EnsembleLinear(num_members, widths[-1], output_dim, generator)
        self.max_logvar = nn.Parameter(torch.full((output_dim,), 0.5))
        self.min_logvar = nn.Parameter(torch.full((output_dim,), -10.0))
        self.register_buffer("input_mean", torch.zeros(input_dim))
        self.register_buffer("input_std", torch.ones(input_dim))
        self.register_buffer("target_std", torch.ones(output_dim))
        self.register_buffer("elites", torch.arange(num_members))

    @property
    def device(self) -> torch.device:
        """The device of the parameters."""
        return self.input_mean.device

    @property
    def mean_layers(self) -> list["EnsembleLinear"]:
        """The layers between the inputs and the mean, in order."""
        return [*cast(Iterable[EnsembleLinear], self.hidden), self.mean_head]

    def forward(
        self, inputs: Float[Tensor, "member batch input"]
    ) -> tuple[Float[Tensor, "member batch output"], Float[Tensor, "member batch output"]]:
        """Evaluate each member on its own batch.

        Args:
            inputs: Observation and action, normalised by `normalise`.

        Returns:
            Mean and log-variance of the change of the observation and of the reward, in raw units. During a fit with
            scaled targets they are in units of the targets' standard deviations.
        """
        evaluate = evaluate_each if inputs.device.type == "cpu" else evaluate_at_once
        mean, logvar = evaluate(self._layers(), inputs).chunk(2, dim=-1)
        return mean, self._clamp(logvar)

    def normalise(self, inputs: Float[Tensor, "batch input"]) -> Float[Tensor, "batch input"]:
        """Scale raw observations and actions to zero mean and unit variance over the training data."""
        return (inputs - self.input_mean) / self.input_std

    def at_precision(self, precision: Precision) -> "GaussianEnsemble":
        """Return this ensemble, or a copy that predicts at another precision and shares the weights.

        Raises:
            ConfigError: If there is no such precision.
        """
        if check_choice("precision", precision, Precision) == self.precision:
            return self
        other = copy.copy(self)
        other.precision = precision
        return other

    @torch.no_grad()
    def predict(self, observations: Observations, actions: Actions) -> GaussianPrediction:
        """Evaluate all members on the same states and actions. Inputs and outputs are in raw units."""
        inputs = self.normalise(torch.cat([observations, actions], dim=-1))
        layers, inner = self._layers(), getattr(torch, self.precision)
        if inputs.device.type == "cpu" and len(inputs) >= MANY_ROWS:
            mean = inputs.new_empty(self.num_members, len(inputs), self.observation_dim + 1)
            std = torch.empty_like(mean)
            for rows, outputs in evaluate_by_member(layers, inputs, inner):
                mean[:, rows], std[:, rows] = self._describe(outputs, observations[rows])
        else:
            inputs = inputs.expand(self.num_members, *inputs.shape)
            mean, std = self._describe(evaluate_at_once(layers, inputs, inner), observations)
        return GaussianPrediction(
            observations=observations,
            actions=actions,
            mean=mean,
            std=std,
            elites=self.elites,
            target_std=self.target_std,
        )

    def _layers(self) -> list[tuple[Tensor, Tensor]]:
        """Return weights and biases in order. The heads are one layer, since one product costs half as much as two."""
        hidden = [(layer.weight, layer.bias) for layer in cast(Iterable[EnsembleLinear], self.hidden)]
        heads = (self.mean_head, self.logvar_head)
        weight = torch.cat([head.weight for head in heads], dim=2)
        bias = torch.cat(tuple(head.bias for head in heads), dim=2)
        return [*hidden, (weight, bias)]

    def _describe(
        self, outputs: Float[Tensor, "member row both"], observations: Float[Tensor, "row observation"]
    ) -> tuple[Float[Tensor, "member row output"], Float[Tensor, "member row output"]]:
        """Return means and standard deviations in raw units. They overwrite `outputs`, the outputs of the heads."""
        mean, logvar = outputs.chunk(2, dim=-1)
        mean[..., :-1] += observations
        return mean, self._clamp(logvar).mul_(0.5).exp_()

    def _clamp(self, logvar: Float[Tensor, "member batch output"]) -> Float[Tensor, "member batch output"]:
        # A soft clamp keeps a gradient at the bounds, which are learned themselves.
        logvar = self.max_logvar - functional.softplus(self.max_logvar - logvar)
        return self.min_logvar + functional.softplus(logvar - self.min_logvar)


def save_ensemble(ensemble: GaussianEnsemble, folder: Path | str) -> Path:
    """Write an ensemble into a folder as ``ensemble.json`` and a safetensors file.

    Raises:
        StoreError: If the folder cannot be written.
    """
    return save_module(ensemble, folder, _NAME, ("observation_dim", "action_dim", "num_members", "hidden_sizes"))


def load_ensemble(folder: Path | str, *, device: torch.device | str = "cpu") -> GaussianEnsemble:
    """Read what `save_ensemble` wrote.

    Raises:
        StoreError: If the files are missing, damaged, or do not fit the architecture they name.
    """
    ensemble = load_module(folder, _NAME, "ensemble", _empty_ensemble)
    elites = ensemble.elites
    if elites.ndim != 1 or len(elites) == 0 or elites.min() < 0 or elites.max() >= ensemble.num_members:
        raise StoreError(f"{folder}: the elites {elites.tolist()} are not members of 0…{ensemble.num_members - 1}.")
    return ensemble.to(device)


def _empty_ensemble(tensors: Mapping[str, np.ndarray], **architecture: Any) -> GaussianEnsemble:
    ensemble = GaussianEnsemble(**architecture)
    # The number of elites is not part of the architecture.
    ensemble.elites = torch.empty(tensors["elites"].shape, dtype=torch.int64)
    return ensemble
