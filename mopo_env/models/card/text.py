"""A model report card as text for a terminal."""

from mopo_env.datasets.card.text import printable
from mopo_env.models.card.scores import ModelCard


def card_text(card: ModelCard) -> str:
    """Return the card in lines of at most 100 characters."""
    names = [printable(column.name) for column in card.columns]
    width = max(map(len, names))
    lines = [
        f"{'':<{width}}  {'error':>9} {'unchanged':>9} {'of spread':>9} {'NLL':>6} {'z²':>6} {'68 %':>5} {'95 %':>5}"
    ]
    lines += [
        f"{name:<{width}}  {column.rmse:9.3g} {column.unchanged:9.3g} {column.rmse / column.spread:9.1%} "
        f"{column.nll:6.2f} {column.z2:6.2f} {column.within_68:5.0%} {column.within_95:5.0%}"
        for name, column in zip(names, card.columns, strict=True)
    ]
    low, middle, high = card.penalty_quantiles
    lines += [
        f"On {card.rows:,} transitions that the fit never saw; errors in raw units.",
        "",
        f"Penalty: 5 to 95 % {low:.3g} to {high:.3g}, median {middle:.3g}; rank correlation with the true error "
        f"{card.rank_correlation:+.2f}",
        "",
        f"{'steps':>5} {'error':>8} {'penalty':>8} {'outside':>8} {'rollouts':>8}",
    ]
    lines += [
        f"{score.steps:>5} {score.error:8.2f} {score.penalty:8.3g} {score.outside:8.1%} {score.rollouts:>8,}"
        for score in card.rollouts
    ]
    lines += ["Rollouts with the recorded actions: distance from the recording in standard deviations of the data.", ""]
    lines += ["Worst transitions, in predicted standard deviations:"]
    lines += [f"  {row.where}: {printable(row.column)} off by {row.error:.1f}" for row in card.worst]
    lines += [""] + ([f"! {problem}" for problem in card.problems] or ["Nothing looks wrong."])
    return "\n".join(lines)
