"""The regression problem of a fit: inputs, targets and their scale, hold-out and batches."""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from mopo_env.models.ensemble import GaussianEnsemble
from mopo_env.models.fit_config import FitConfig
from mopo_env.models.losses import gaussian_loss, negative_log_likelihood
from mopo_env.transitions import Transitions


def regression_arrays(transitions: Transitions) -> tuple[Float[Tensor, "row input"], Float[Tensor, "row output"]]:
    """Return raw inputs (s, a), and the targets: the change of the observation, then the reward."""
    inputs = np.concatenate([transitions.observations, transitions.encoded_actions()], axis=1)
    change = transitions.next_observations - transitions.observations
    targets = np.concatenate([change, transitions.rewards[:, None]], axis=1)
    return torch.from_numpy(inputs), torch.from_numpy(targets)


class TargetScale:
    """What the networks learn, (target − mean) / std, and the way back."""

    def __init__(self, mean: Float[Tensor, " output"], std: Float[Tensor, " output"]) -> None:
        self.mean, self.std = mean, std

    def normalise(self, targets: Float[Tensor, "row output"]) -> Float[Tensor, "row output"]:
        """Return what the networks learn."""
        return (targets - self.mean) / self.std

    @torch.no_grad()
    def fold_into(self, ensemble: GaussianEnsemble) -> None:
        """Let the heads answer in raw units: penalties keep their meaning, and a prediction costs no more.

        The log-variance and its bounds move by the same amount, and the soft clamp between them moves along.
        """
        ensemble.mean_head.weight.mul_(self.std)
        ensemble.mean_head.bias.mul_(self.std).add_(self.mean)
        for logvar in (ensemble.logvar_head.bias, ensemble.max_logvar, ensemble.min_logvar):
            logvar.add_(2.0 * self.std.log())


class FitData:
    """The regression problem: normalised inputs, and targets as the networks learn them."""

    def __init__(
        self,
        ensemble: GaussianEnsemble,
        inputs: Tensor,
        targets: Tensor,
        train: Tensor,
        holdout: Tensor,
        scale: TargetScale,
    ) -> None:
        normalised = ensemble.normalise(inputs.to(ensemble.device))
        self._scale = scale
        targets = scale.normalise(targets.to(ensemble.device))
        self._inputs, self._targets = normalised[train], targets[train]
        self._holdout_inputs, self._holdout_targets = normalised[holdout], targets[holdout]

    def loss(
        self, ensemble: GaussianEnsemble, rows: Int64[Tensor, "member batch"], config: FitConfig, beta: float
    ) -> Tensor:
        """Return the loss of each member on its own batch, summed, with the pull on the log-variance's bounds."""
        mean, logvar = ensemble(self._inputs[rows])
        bounds = ensemble.max_logvar.sum() - ensemble.min_logvar.sum()
        loss: Tensor = gaussian_loss(mean, logvar, self._targets[rows], beta) + config.logvar_bound_coef * bounds
        return loss

    @torch.no_grad()
    def holdout_errors(
        self, ensemble: GaussianEnsemble
    ) -> tuple[Float[Tensor, "member output"], Float[Tensor, "member output"]]:
        """Return each member's mean squared error, raw units, and negative log-likelihood on the hold-out.

        The likelihood is that of the targets as the networks learn them, so that columns count alike.
        """
        inputs = self._holdout_inputs.expand(ensemble.num_members, *self._holdout_inputs.shape)
        ensemble.eval()
        mean, logvar = ensemble(inputs)
        ensemble.train()
        error = mean - self._holdout_targets
        raw = (error * self._scale.std).double()  # squares of large numbers overflow float32
        return raw.square().mean(dim=1).cpu(), negative_log_likelihood(error, logvar).cpu()


def batches(
    bootstraps: Int64[Tensor, "member row"], batch_size: int, generator: torch.Generator, device: torch.device
) -> Iterator[Int64[Tensor, "member batch"]]:
    """Shuffle each member's bootstrap on its own, and yield it in batches, on the device."""
    shuffle = torch.rand(bootstraps.shape, generator=generator).argsort(dim=1)
    yield from torch.split(bootstraps.gather(1, shuffle).to(device), batch_size, dim=1)
