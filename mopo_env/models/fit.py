"""Fit a `GaussianEnsemble` to a dataset by maximum likelihood (paper, Algorithm 2, line 1)."""

import math
import warnings
from collections.abc import Iterator
from dataclasses import asdict

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from mopo_env._utils.devices import check_device
from mopo_env._utils.progress import progress_bar
from mopo_env._utils.tensors import mean_and_std
from mopo_env.errors import DivergenceError, FitWarning
from mopo_env.models.ensemble import GaussianEnsemble
from mopo_env.models.fit_config import FitConfig
from mopo_env.models.lipschitz import bake, regularise
from mopo_env.models.losses import gaussian_loss, negative_log_likelihood
from mopo_env.models.optimizer import make_optimizer, make_schedule
from mopo_env.models.provenance import provenance
from mopo_env.transitions import Transitions

__all__ = ["fit_ensemble"]

BETA_ENDS = 0.8
"""Share of the fit over which β falls to zero; the rest is plain likelihood, so that the variances settle."""

LEARNED_NOTHING = 0.99
"""A fit is said to have learned nothing about a column if it leaves this share of its variance unexplained, or more."""


def fit_ensemble(
    transitions: Transitions,
    config: FitConfig | None = None,
    *,
    device: torch.device | str = "cpu",
    progress: bool = True,
) -> GaussianEnsemble:
    """Fit every member on its own bootstrap, keep each at its best epoch, and choose the elites.

    Inputs and targets are normalised, so that columns in different units count alike. The heads answer in raw units.

    Args:
        transitions: D_env.
        config: How to fit; default: `FitConfig()`.
        device: Where to compute.
        progress: Whether to show a progress bar.

    Returns:
        The ensemble. Its `metadata` holds the configuration, the dataset's fingerprint, each member's score and mean
        squared error on the hold-out, and the history of the scores. On the CPU the same dataset and configuration
        give the same weights, bit for bit.

    Raises:
        DivergenceError: If weights or losses cease to be finite; the message names epoch and columns.

    Warns:
        FitWarning: If a column is predicted no better than by its mean.
    """
    config, device = config or FitConfig(), check_device(device)
    generator = torch.Generator().manual_seed(config.seed)
    ensemble = GaussianEnsemble(
        transitions.observation_dim,
        transitions.action_dim,
        num_members=config.num_members,
        hidden_sizes=config.hidden_sizes,
        generator=generator,
    )
    names = [*transitions.observation_names, "reward"]
    inputs, targets = _regression_arrays(transitions)
    holdout_size = min(config.holdout_size, max(1, len(inputs) // 5))
    order = torch.randperm(len(inputs), generator=generator)
    holdout, train = order[:holdout_size], order[holdout_size:]
    ensemble.input_mean, ensemble.input_std = mean_and_std(inputs[train])
    target_mean, ensemble.target_std = mean_and_std(targets[train])
    scaled = config.scale_targets or config.lipschitz is not None
    scale = _TargetScale(target_mean, ensemble.target_std) if scaled else _TargetScale.identity(target_mean)
    if config.lipschitz is not None:
        regularise(ensemble, config.lipschitz, generator)
    ensemble.to(device)
    data = _FitData(ensemble, inputs, targets, train, holdout, device, scale)
    bootstraps = torch.randint(len(train), (config.num_members, len(train)), generator=generator)
    num_epochs = config.epochs_for(len(train))
    num_updates = num_epochs * math.ceil(len(train) / config.batch_size)
    optimizer = make_optimizer(ensemble, config)
    schedule = make_schedule(optimizer, config, num_updates)
    best = _BestSnapshots(ensemble)
    history: list[list[float]] = []

    updates = epochs_without_improvement = 0
    with progress_bar(total=num_epochs, desc="fit ensemble", unit="epoch", show=progress) as bar:
        for epoch in range(1, num_epochs + 1):
            for rows in _batches(bootstraps, config.batch_size, generator, ensemble.device):
                beta = config.beta * max(0.0, 1.0 - updates / (BETA_ENDS * num_updates))
                loss = data.loss(ensemble, rows, config, beta)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
                updates += 1
            errors, likelihoods = data.holdout_errors(ensemble)
            _check_finite(likelihoods, epoch, names)
            # The paper's code compares squared errors in raw units. Columns with large numbers decide these.
            scores = likelihoods.mean(dim=1) if scaled else errors.mean(dim=1).log().float()
            history.append(scores.tolist())
            improved = best.update(scores, errors, config.min_improvement if config.schedule == "constant" else 0.0)
            epochs_without_improvement = 0 if improved else epochs_without_improvement + 1
            bar.update()
            bar.set_postfix({"hold-out score": f"{float(best.scores.sort().values[: config.num_elites].mean()):.4g}"})
            if config.schedule == "constant" and epochs_without_improvement > config.patience:
                break
    best.restore()
    if config.lipschitz is not None:
        bake(ensemble)
    scale.fold_into(ensemble)
    elites = best.scores.argsort()[: config.num_elites]
    ensemble.elites = elites.to(ensemble.device)
    unexplained = best.errors[elites].mean(dim=0) / ensemble.target_std.cpu().double().square()
    _warn_of_columns(unexplained, ensemble.target_std.cpu(), names)
    ensemble.metadata = {
        "config": asdict(config),
        **provenance(transitions),
        "holdout_rows": sorted(holdout.tolist()),
        "holdout_score": best.scores.tolist(),
        "holdout_score_history": history,
        "holdout_mse": best.errors.mean(dim=1).tolist(),
        "holdout_unexplained": unexplained.tolist(),
        "epochs": len(history),
    }
    return ensemble.requires_grad_(False)


class _TargetScale:
    """What the networks learn, (target − mean) / std, and the way back."""

    def __init__(self, mean: Float[Tensor, " output"], std: Float[Tensor, " output"]) -> None:
        self.mean, self.std = mean, std

    @classmethod
    def identity(cls, like: Float[Tensor, " output"]) -> "_TargetScale":
        """Leave targets in raw units, as the paper's code does."""
        return cls(torch.zeros_like(like), torch.ones_like(like))

    def to(self, device: torch.device | str) -> "_TargetScale":
        return _TargetScale(self.mean.to(device), self.std.to(device))

    def normalise(self, targets: Float[Tensor, "row output"]) -> Float[Tensor, "row output"]:
        return (targets - self.mean) / self.std

    @torch.no_grad()
    def fold_into(self, ensemble: GaussianEnsemble) -> None:
        """Let the heads answer in raw units: penalties keep their meaning, and a prediction costs no more.

        The log-variance and its bounds move by the same amount, and the soft clamp between them moves along.
        """
        mean, std = self.mean.to(ensemble.device), self.std.to(ensemble.device)
        ensemble.mean_head.weight.mul_(std)
        ensemble.mean_head.bias.mul_(std).add_(mean)
        for logvar in (ensemble.logvar_head.bias, ensemble.max_logvar, ensemble.min_logvar):
            logvar.add_(2.0 * std.log())


class _FitData:
    """The regression problem: normalised inputs, and targets as the networks learn them."""

    def __init__(
        self,
        ensemble: GaussianEnsemble,
        inputs: Tensor,
        targets: Tensor,
        train: Tensor,
        holdout: Tensor,
        device: torch.device | str,
        scale: _TargetScale,
    ) -> None:
        normalised = ensemble.normalise(inputs.to(device))
        self._scale = scale.to(device)
        targets = self._scale.normalise(targets.to(device))
        self._inputs, self._targets = normalised[train], targets[train]
        self._holdout_inputs, self._holdout_targets = normalised[holdout], targets[holdout]

    def loss(
        self, ensemble: GaussianEnsemble, rows: Int64[Tensor, "member batch"], config: FitConfig, beta: float
    ) -> Tensor:
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


class _BestSnapshots:
    """Each member's parameters at the epoch of its smallest score; there is none before the first epoch.

    The bounds of the log-variance belong to all members and are kept as they end.
    """

    def __init__(self, ensemble: GaussianEnsemble) -> None:
        self.scores = torch.full((ensemble.num_members,), torch.inf)
        self.errors = torch.full((ensemble.num_members, len(ensemble.max_logvar)), torch.inf, dtype=torch.float64)
        self._parameters = {
            name: parameter for name, parameter in ensemble.named_parameters() if not name.endswith("_logvar")
        }
        self._snapshots = {name: parameter.detach().clone() for name, parameter in self._parameters.items()}

    @torch.no_grad()
    def update(
        self, scores: Float[Tensor, " member"], errors: Float[Tensor, "member output"], min_improvement: float
    ) -> bool:
        """Keep the members that improved by a share of their error, or for the first time; return whether any did."""
        # Both scores are logarithms: to lose 1 % of an error is to lose −ln(1 − 0.01).
        needed = math.inf if min_improvement == 1.0 else -math.log1p(-min_improvement)
        improved = self.scores.isinf() | (scores < self.scores - needed)
        self.scores[improved], self.errors[improved] = scores[improved], errors[improved]
        for name, parameter in self._parameters.items():
            self._snapshots[name][improved] = parameter[improved]
        return bool(improved.any())

    @torch.no_grad()
    def restore(self) -> None:
        """Set every member back to its best epoch."""
        for name, parameter in self._parameters.items():
            parameter.copy_(self._snapshots[name])


def _check_finite(likelihoods: Float[Tensor, "member output"], epoch: int, names: list[str]) -> None:
    """Stop a fit whose numbers are lost; weights that are not finite show in the likelihood of some column."""
    finite = likelihoods.isfinite().all(dim=0).tolist()
    broken = [name for name, is_finite in zip(names, finite, strict=True) if not is_finite]
    if broken:
        raise DivergenceError(
            f"the fit diverged in epoch {epoch}: the likelihood is not finite in {', '.join(broken)}. Look for "
            "outliers there with `mopo data show`, or lower the learning rate."
        )


def _warn_of_columns(unexplained: Float[Tensor, " output"], spread: Float[Tensor, " output"], names: list[str]) -> None:
    for name, share, std in zip(names, unexplained.tolist(), spread.tolist(), strict=True):
        if share > LEARNED_NOTHING:
            warnings.warn(
                f"the fit learned nothing about {name!r}: on the hold-out its squared error is {share:.2f} of the "
                f"variance, whose standard deviation is {std:.3g}. Its prediction is no better than its mean.",
                FitWarning,
                stacklevel=3,
            )


def _regression_arrays(transitions: Transitions) -> tuple[Float[Tensor, "row input"], Float[Tensor, "row output"]]:
    """Return raw inputs (s, a), and the targets: the change of the observation, then the reward."""
    inputs = np.concatenate([transitions.observations, transitions.encoded_actions()], axis=1)
    change = transitions.next_observations - transitions.observations
    targets = np.concatenate([change, transitions.rewards[:, None]], axis=1)
    return torch.from_numpy(inputs), torch.from_numpy(targets)


def _batches(
    bootstraps: Int64[Tensor, "member row"], batch_size: int, generator: torch.Generator, device: torch.device
) -> Iterator[Int64[Tensor, "member batch"]]:
    """Shuffle each member's bootstrap on its own, and yield it in batches, on the device."""
    shuffle = torch.rand(bootstraps.shape, generator=generator).argsort(dim=1)
    yield from torch.split(bootstraps.gather(1, shuffle).to(device), batch_size, dim=1)
