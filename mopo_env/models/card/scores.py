"""What a model report card holds."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ColumnScore:
    """How well one output is predicted on the hold-out; a mean over the elites, each on its own.

    Attributes:
        name: The column's name, or its number.
        rmse: Root mean squared error, raw units.
        unchanged: The same of the guess that nothing changes; of the reward, of the guess of its mean.
        spread: Standard deviation of what is predicted, the change or the reward, over the training rows; raw units.
        nll: Negative log-likelihood in units of the spread: a fit that learns nothing has 1.42.
        z2: Mean squared error in units of the predicted variance; 1 if calibrated, above if too sure.
        within_68: Share of the errors within one predicted standard deviation; 0.683 if calibrated.
        within_95: Share within 1.96 of them; 0.95 if calibrated.
        penalty_share: Share that this column has of the squared predicted standard deviations, in the penalty's units.
    """

    name: str
    rmse: float
    unchanged: float
    spread: float
    nll: float
    z2: float
    within_68: float
    within_95: float
    penalty_share: float


@dataclass(frozen=True, kw_only=True)
class RolloutScore:
    """What became of rollouts after so many steps, with the recorded actions and one elite each.

    Attributes:
        steps: Steps since the recorded state that they began in.
        error: Distance from the recorded state, each column in units of its spread in the data; median.
        penalty: u(s, a) of the last step; median.
        outside: Share of the rollouts that have left the data's range by more than 10 % in some column.
        rollouts: How many recorded episodes went on for so long.
    """

    steps: int
    error: float
    penalty: float
    outside: float
    rollouts: int


@dataclass(frozen=True, kw_only=True)
class WorstRow:
    """A transition of the hold-out that the model predicts badly.

    Attributes:
        where: Its episode and step.
        column: The column with the largest error.
        error: In predicted standard deviations, the mean over the elites.
    """

    where: str
    column: str
    error: float


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """A fitted model, judged.

    Attributes:
        rows: Rows of the hold-out.
        columns: Every output, the reward last.
        rollouts: Rollouts of several lengths.
        worst: The ten worst rows of the hold-out.
        rank_correlation: Spearman's, between the penalty and the true error of the elites' mean on the hold-out.
        penalty_quantiles: u(s, a) on the hold-out: 5, 50 and 95 %.
        best_epochs: The epoch each member was kept at, and how many there were; empty for a model not fitted here.
        problems: What looks wrong, in words; empty if nothing does.
    """

    rows: int
    columns: tuple[ColumnScore, ...]
    rollouts: tuple[RolloutScore, ...]
    worst: tuple[WorstRow, ...]
    rank_correlation: float
    penalty_quantiles: tuple[float, float, float]
    best_epochs: tuple[tuple[int, ...], int]
    problems: tuple[str, ...] = ()
