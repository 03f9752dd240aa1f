"""`FitConfig`: every choice that fitting an ensemble leaves open."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from mopo_env._utils.options import (
    Schedule,
    check_boolean,
    check_choice,
    check_fields,
    check_integer,
    check_number,
    check_tuple,
)
from mopo_env.errors import ConfigError

PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    "paper": {
        "schedule": "constant",
        "learning_rate": 1e-3,
        "batch_size": 256,
        "beta": 0.0,
        "scale_targets": False,
    },
}
"""Options of `FitConfig` by name: ``FitConfig(**PRESETS["paper"])`` fits as the paper's code does."""


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """How to fit an ensemble.

    The networks, the hold-out and the bootstraps are those of the paper's code. Targets, loss and learning rate are
    not: `PRESETS` holds what the paper's code does, and `python benchmarks/fit.py --quality` compares the two.

    Attributes:
        num_members: N.
        num_elites: How many members, the best on the hold-out, next states are drawn from.
        hidden_sizes: Widths of the hidden layers.
        learning_rate: Of Adam; with a schedule, its peak.
        batch_size: Rows of each member's batch.
        schedule: cosine, a rise and then half a cosine down to zero over all epochs; or constant, until no member
            improves any more.
        beta: β of the loss at the start of a fit; it falls to zero over the first four fifths. It makes up for what the
            likelihood alone learns slowly, the means where the noise is large (see `gaussian_loss`); 0: the likelihood
            alone, as in the paper's code.
        weight_decay: Of each hidden layer and, last, of the heads. Empty: the paper's for its four layers; for others,
            2.5e-5 and 5e-5 for the first two, 7.5e-5 for further ones, and 1e-4 for the heads.
        logvar_bound_coef: Pull on the learned bounds of the log-variance.
        holdout_size: Rows kept from training; at most a fifth of the dataset.
        patience: At a constant rate, stop after more than this many epochs in which no member improved.
        min_improvement: At a constant rate, the smallest relative drop of a member's hold-out score that counts.
        max_epochs: The length of the schedule; at a constant rate, the fit stops here at the latest. The paper's code
            has no such limit; on 101000 rows its rule alone was seen to run for more than 200 epochs. None: 100 at a
            constant rate, otherwise 36, or as many as make 1000 updates if these are more.
        scale_targets: Whether the networks learn targets of unit variance, and members are compared by likelihood.
            Otherwise columns with large numbers decide what is learned and which epoch is kept, as in the paper's
            code. Predictions are in raw units either way.
        lipschitz: Bound of the product of the largest singular values of the mean's layers, kept by spectral
            normalisation (paper, section 4.3, where it is 1) between inputs and targets of unit variance; None: no
            bound, as in the paper's code.
        seed: Of the initial weights, the hold-out, the bootstraps and the batches.
    """

    num_members: int = 7
    num_elites: int = 5
    hidden_sizes: tuple[int, ...] = (200, 200, 200, 200)
    learning_rate: float = 4e-3
    batch_size: int = 512
    schedule: Schedule = "cosine"
    beta: float = 0.5
    weight_decay: tuple[float, ...] = ()
    logvar_bound_coef: float = 0.01
    holdout_size: int = 1000
    patience: int = 5
    min_improvement: float = 0.01
    max_epochs: int | None = None
    scale_targets: bool = True
    lipschitz: float | None = None
    seed: int = 0

    @classmethod
    def from_recorded(cls, options: Mapping[str, Any]) -> FitConfig:
        """Return the configuration that an ensemble's `metadata` or a JSON file holds.

        Raises:
            ConfigError: If an option is unknown or wrong.
        """
        unknown = sorted(set(options) - {option.name for option in fields(cls)})
        if unknown:
            raise ConfigError(f"fit options: {', '.join(unknown)}: unknown to this version of mopo-env.")
        with_tuples: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in options.items()
        }
        return cls(**with_tuples)

    def epochs_for(self, num_rows: int) -> int:
        """Return how many epochs a fit to so many training rows has at most.

        Where `max_epochs` is None these are 100 at a constant rate; with a schedule 36, or, on small data, as many as
        make 1,000 updates. More epochs lower the error further, but the predicted standard deviations then become too
        small: docs/performance.md has both.
        """
        if self.max_epochs is not None:
            return self.max_epochs
        if self.schedule == "constant":
            return 100
        return max(36, math.ceil(1000 / math.ceil(num_rows / self.batch_size)))

    def __post_init__(self) -> None:
        """Check every option; a `ConfigError` names the one that is wrong."""
        check_fields(self, check_integer, "num_members", "num_elites", "batch_size", "holdout_size", "patience")
        check_fields(self, check_integer, "max_epochs", optional=True)
        check_fields(self, check_choice, "schedule", choices=Schedule)
        check_fields(self, check_integer, "seed", minimum=0, maximum=2**63 - 1)
        check_fields(self, check_number, "beta", minimum=0.0, maximum=1.0)
        check_fields(self, check_number, "learning_rate", above=0.0)
        check_fields(self, check_number, "logvar_bound_coef", minimum=0.0)
        check_fields(self, check_number, "min_improvement", minimum=0.0, maximum=1.0)
        check_fields(self, check_boolean, "scale_targets")
        check_fields(self, check_number, "lipschitz", optional=True, above=0.0)
        check_fields(self, check_tuple, "hidden_sizes", check=check_integer)
        check_fields(self, check_tuple, "weight_decay", check=check_number, minimum=0.0)
        if not self.weight_decay:
            others = (7.5e-5,) * max(0, len(self.hidden_sizes) - 2)
            of_layers = (2.5e-5, 5e-5, *others)[: len(self.hidden_sizes)]
            object.__setattr__(self, "weight_decay", (*of_layers, 1e-4))
        if len(self.weight_decay) != len(self.hidden_sizes) + 1:
            raise ConfigError(
                f"weight_decay: expected one number for each layer of hidden_sizes, of which there are "
                f"{len(self.hidden_sizes)}, and one for the heads; found {len(self.weight_decay)}."
            )
        if self.num_elites > self.num_members:
            raise ConfigError(f"num_elites: {self.num_elites} exceeds num_members, {self.num_members}.")
