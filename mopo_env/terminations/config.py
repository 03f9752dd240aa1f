"""`TerminationConfig`: the options of fitting a termination rule."""

from dataclasses import dataclass
from typing import Literal

from mopo_env._utils.options import check_choice, check_fields, check_integer, check_number, check_tuple

TerminationInputs = Literal["next-observation", "transition"]


@dataclass(frozen=True, kw_only=True)
class TerminationConfig:
    """How to fit a learned termination rule.

    Attributes:
        inputs: What the rule reads: next-observation is s' alone, transition is s, a and s'.
        num_members: Number of classifiers; their probabilities are averaged.
        hidden_sizes: Widths of the hidden layers.
        learning_rate: Learning rate of Adam.
        batch_size: Rows in a batch of one member.
        validation_share: Share of the episodes that are used to choose the best epoch and the threshold.
        test_share: Share of the episodes that are used only to measure precision, recall and F1.
        patience: The fit stops after more than this many epochs without a better validation loss.
        max_epochs: The fit stops after this many epochs at the latest.
        seed: Seed of the initial weights, the split and the batches.
    """

    inputs: TerminationInputs = "next-observation"
    num_members: int = 5
    hidden_sizes: tuple[int, ...] = (64, 64)
    learning_rate: float = 3e-3
    batch_size: int = 256
    validation_share: float = 0.15
    test_share: float = 0.15
    patience: int = 15
    max_epochs: int = 300
    seed: int = 0

    def __post_init__(self) -> None:
        """Check every option; a `ConfigError` names the one that is wrong."""
        check_fields(self, check_choice, "inputs", choices=TerminationInputs)
        check_fields(self, check_integer, "num_members", "batch_size", "patience", "max_epochs")
        check_fields(self, check_integer, "seed", minimum=0, maximum=2**63 - 1)
        check_fields(self, check_number, "learning_rate", above=0.0)
        check_fields(self, check_number, "validation_share", "test_share", above=0.0, maximum=0.4)
        check_fields(self, check_tuple, "hidden_sizes", check=check_integer)
