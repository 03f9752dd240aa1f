"""Fit a `GaussianEnsemble` to a dataset by maximum likelihood (paper, Algorithm 2, line 1)."""

import math
import warnings
from dataclasses import asdict

import torch
from jaxtyping import Float
from torch import Tensor

from mopo_env._utils.devices import check_device
from mopo_env._utils.progress import progress_bar
from mopo_env._utils.tensors import mean_and_std
from mopo_env.errors import DivergenceError, FitWarning
from mopo_env.models.ensemble import GaussianEnsemble
from mopo_env.models.fit_config import FitConfig
from mopo_env.models.fit_data import FitData, TargetScale, batches, regression_arrays
from mopo_env.models.lipschitz import bake, regularise
from mopo_env.models.optimizer import make_optimizer, make_schedule
from mopo_env.models.provenance import provenance
from mopo_env.transitions import Transitions

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
    inputs, targets = regression_arrays(transitions)
    holdout_size = min(config.holdout_size, max(1, len(inputs) // 5))
    order = torch.randperm(len(inputs), generator=generator)
    holdout, train = order[:holdout_size], order[holdout_size:]
    ensemble.input_mean, ensemble.input_std = mean_and_std(inputs[train])
    target_mean, target_std = mean_and_std(targets[train], constant=math.nan)
    scaled = config.scale_targets or config.lipschitz is not None
    still, stillest = target_std.isnan(), target_std.nan_to_num(nan=math.inf).min()
    # A constant column has no scale. That of the stillest one adds next to nothing to a penalty in raw units.
    ensemble.target_std = torch.where(still, stillest if scaled and stillest.isfinite() else 1.0, target_std)
    _warn_of_still_columns(targets[train][:, still], [names[column] for column in still.nonzero().ravel().tolist()])
    # The paper's code leaves targets in raw units.
    units = (
        (target_mean, ensemble.target_std) if scaled else (torch.zeros_like(target_mean), torch.ones_like(target_mean))
    )
    scale = TargetScale(*(unit.to(device) for unit in units))
    if config.lipschitz is not None:
        regularise(ensemble, config.lipschitz, generator)
    ensemble.to(device)
    data = FitData(ensemble, inputs, targets, train, holdout, scale)
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
            for rows in batches(bootstraps, config.batch_size, generator, ensemble.device):
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


def _warn_of_still_columns(targets: Float[Tensor, "row column"], names: list[str]) -> None:
    for name, column in zip(names, targets.T, strict=True):
        if (column != column[0]).any():
            warnings.warn(
                f"{name!r} is taken as constant: its changes, {column.min():.3g} to {column.max():.3g}, cannot be told "
                "from rounding. Choose a smaller unit for it, or leave it out.",
                FitWarning,
                stacklevel=3,
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
