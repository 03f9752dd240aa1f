"""The learning rate rises, falls, and ends at nothing; weights decay, biases do not."""

from __future__ import annotations

import math

import pytest

from mopo_env.models.ensemble import GaussianEnsemble
from mopo_env.models.fit_config import FitConfig
from mopo_env.models.optimizer import WARM_UP, cosine_share, make_optimizer, make_schedule

CONFIG = FitConfig(hidden_sizes=(4,), weight_decay=(0.1, 0.2), learning_rate=0.5)


def ensemble() -> GaussianEnsemble:
    return GaussianEnsemble(2, 1, num_members=2, hidden_sizes=(4,))


def rates(config: FitConfig, num_updates: int) -> list[float]:
    """Return the rate of every update, as a fit applies it."""
    optimizer = make_optimizer(ensemble(), config)
    schedule = make_schedule(optimizer, config, num_updates)
    seen = []
    for _ in range(num_updates):
        found = {group["lr"] for group in optimizer.param_groups}
        assert len(found) == 1, "all parameters follow one schedule"
        seen.append(found.pop())
        optimizer.step()
        schedule.step()
    return seen


@pytest.mark.parametrize(
    ("progress", "share"),
    [
        (0.0, 0.0),
        (WARM_UP / 2, 0.5),
        (WARM_UP, 1.0),
        (WARM_UP + (1 - WARM_UP) / 2, 0.5),
        (WARM_UP + (1 - WARM_UP) / 4, (2 + math.sqrt(2)) / 4),
        (1.0, 0.0),
        (1.1, 0.0),
    ],
)
def test_the_share_by_hand(progress: float, share: float) -> None:
    """A quarter of the way down, cos(π/4) = √½; beyond the end the rate must not rise again."""
    assert cosine_share(progress) == pytest.approx(share, abs=1e-12)


def test_every_update_has_the_rate_of_its_middle() -> None:
    """The first update would have no rate at all otherwise, and a fit of one update would learn nothing."""
    assert rates(CONFIG, 1) == [pytest.approx(0.5 * cosine_share(0.5))]
    assert rates(CONFIG, 4) == pytest.approx([0.5 * cosine_share((update + 0.5) / 4) for update in range(4)])
    assert min(rates(CONFIG, 200)) > 0.0


def test_a_constant_rate_stays() -> None:
    config = FitConfig(hidden_sizes=(4,), weight_decay=(0.1, 0.2), learning_rate=0.5, schedule="constant")
    assert rates(config, 5) == [0.5] * 5


def test_each_layer_has_its_own_decay_and_biases_and_bounds_have_none() -> None:
    """A tuple shifted by one layer would pull on the wrong weights and still run."""
    net = GaussianEnsemble(2, 1, hidden_sizes=(4, 4))
    optimizer = make_optimizer(net, FitConfig(hidden_sizes=(4, 4), weight_decay=(0.1, 0.2, 0.3)))
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    decays = {names[id(p)]: group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert decays == {
        "hidden.0.weight": 0.1,
        "hidden.1.weight": 0.2,
        "mean_head.weight": 0.3,
        "logvar_head.weight": 0.3,
        **{f"{layer}.bias": 0 for layer in ("hidden.0", "hidden.1", "mean_head", "logvar_head")},
        "max_logvar": 0,
        "min_logvar": 0,
    }
