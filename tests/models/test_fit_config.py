"""Every wrong option is refused before a fit of many minutes starts, and the refusal names the option."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from mopo_env.errors import ConfigError
from mopo_env.models.fit_config import PRESETS, FitConfig

NAN, INF = float("nan"), float("inf")
# What people really write: strings from a file, booleans, 1e3 where an integer is due, NaN from a computation.
NOT_A_COUNT: list[Any] = [0, -3, 2.5, 1e3, "5", True, None, NAN, INF, [5]]
NOT_A_NUMBER: list[Any] = [NAN, INF, -INF, "1e-3", None, True, [1.0], 1j, 10**400]

BAD_VALUES: list[tuple[str, Any]] = [
    *[
        (name, value)
        for name in ("num_members", "num_elites", "batch_size", "holdout_size", "patience")
        for value in NOT_A_COUNT
    ],
    *[("max_epochs", value) for value in NOT_A_COUNT if value is not None],
    *[("schedule", value) for value in ("linear", "Cosine", None, 1, True)],
    *[("num_elites", value) for value in (8, "all")],
    *[("num_members", value) for value in ("7",)],
    *[("beta", value) for value in (*NOT_A_NUMBER, -0.1, 1.1)],
    *[("learning_rate", value) for value in (*NOT_A_NUMBER, 0.0, -1e-3)],
    *[("logvar_bound_coef", value) for value in (*NOT_A_NUMBER, -0.01)],
    *[("min_improvement", value) for value in (*NOT_A_NUMBER, -0.01, 1.5)],
    *[("lipschitz", value) for value in (NAN, INF, -INF, "1", True, [1.0], 1j, 10**400, 0, 0.0, -1.0)],
    *[("scale_targets", value) for value in (1, 0, "yes", None, NAN)],
    *[("seed", value) for value in (-1, 1.0, "0", None, True, NAN, 2**63)],
    *[("hidden_sizes", value) for value in (200, None, "200", (200, 0, 200, 200), (200, 1.5, 200, 200), (True,) * 4)],
    *[("weight_decay", value) for value in (1e-4, None, "1e-4", (1e-4,) * 4, (1e-4,) * 6, (-1e-4,) * 5)],
    *[("weight_decay", (1e-4, 1e-4, value, 1e-4, 1e-4)) for value in NOT_A_NUMBER],
]


@pytest.mark.parametrize(("name", "value"), BAD_VALUES)
def test_a_bad_value_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(ConfigError) as refusal:
        FitConfig(**{name: value})
    assert name in str(refusal.value)


def test_the_table_covers_every_option() -> None:
    """A new option without bad values would be checked by nobody."""
    assert {name for name, _ in BAD_VALUES} == {field.name for field in dataclasses.fields(FitConfig)}


def test_a_misspelt_key_is_refused() -> None:
    with pytest.raises(TypeError, match="learning_rte"):
        FitConfig(learning_rte=1e-3)  # type: ignore[call-arg]


def test_options_are_keywords_only() -> None:
    """Fourteen positional numbers could not be read, nor checked for their order."""
    with pytest.raises(TypeError):
        FitConfig(7)  # type: ignore[misc]


def test_a_config_cannot_change_after_it_was_checked() -> None:
    config = FitConfig()
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.batch_size = 0  # type: ignore[misc]


@pytest.mark.parametrize(
    "options",
    [
        {"num_elites": 7},
        {"num_members": 1, "num_elites": 1},
        {"hidden_sizes": (16,), "weight_decay": (0.0, 0.0)},
        {"hidden_sizes": (), "weight_decay": (0.0,)},
        {"hidden_sizes": (64, 64)},
        {"learning_rate": 1},
        {"min_improvement": 0.0},
        {"min_improvement": 1.0},
        {"logvar_bound_coef": 0},
        {"lipschitz": 1},
        {"lipschitz": None},
        {"max_epochs": None},
        {"max_epochs": 1},
        {"scale_targets": True},
        {"seed": 2**63 - 1},
    ],
    ids=str,
)
def test_the_ends_of_every_range_are_allowed(options: dict[str, Any]) -> None:
    """A check that is too strict is as wrong as one that is too lax."""
    config = FitConfig(**options)
    assert {name: getattr(config, name) for name in options} == options


def test_networks_and_losses_are_those_of_the_papers_code() -> None:
    """λ in the paper's tables was tuned for these; how fast they are fitted is our own choice."""
    config = FitConfig()
    assert (config.num_members, config.num_elites) == (7, 5)
    assert config.hidden_sizes == (200, 200, 200, 200)
    assert config.weight_decay == (2.5e-5, 5e-5, 7.5e-5, 7.5e-5, 1e-4)
    assert config.logvar_bound_coef == 0.01
    assert (config.holdout_size, config.patience, config.min_improvement) == (1000, 5, 0.01)
    assert config.lipschitz is None


def test_the_papers_preset_is_what_its_code_does() -> None:
    """Whoever compares with the paper's numbers must be able to fit as it did, in one word."""
    config = FitConfig(**PRESETS["paper"])
    assert (config.schedule, config.learning_rate, config.batch_size) == ("constant", 1e-3, 256)
    assert (config.beta, config.scale_targets) == (0.0, False)


def test_a_record_gives_the_same_configuration() -> None:
    """JSON has no tuples; what is read from an ensemble's metadata must fit the same again."""
    config = FitConfig(hidden_sizes=(16, 8), weight_decay=(0.0, 1e-4, 1e-3), lipschitz=30.0, scale_targets=True, seed=4)
    assert FitConfig.from_recorded(json.loads(json.dumps(dataclasses.asdict(config)))) == config


def test_small_data_are_given_as_many_updates_as_they_need() -> None:
    """Forty-five epochs of 3,000 rows would be 270 updates, after which nothing is learned yet."""
    assert FitConfig().epochs_for(100_000) == 36
    assert FitConfig().epochs_for(3_000) == 167  # ⌈3000 / 512⌉ = 6 updates an epoch
    assert FitConfig().epochs_for(100) == 1_000
    assert FitConfig(schedule="constant").epochs_for(3_000) == 100
    assert FitConfig(max_epochs=7).epochs_for(100) == 7


def test_a_record_of_another_version_is_refused() -> None:
    """An option that is not known cannot be honoured."""
    with pytest.raises(ConfigError, match="fit options: dropout, momentum: unknown"):
        FitConfig.from_recorded({"seed": 1, "momentum": 0.9, "dropout": 0.1})
    with pytest.raises(ConfigError, match="seed"):
        FitConfig.from_recorded({"seed": -1})
