"""A dataset's card: the numbers are the data's, the text fits a terminal, the picture is drawn."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from helpers.transitions import transitions

from mopo_env import DatasetCard, Transitions, dataset_card, load_dataset
from mopo_env.datasets.card import card as card_module
from mopo_env.datasets.card.text import card_text
from mopo_env.errors import StoreError, UnknownNameError
from mopo_env.figures.canvas import save_figure
from mopo_env.figures.data import draw_returns
from mopo_env.tasks import get_task


def recorded(**changes: Any) -> Transitions:
    """Three episodes of 2, 4 and 1 steps with returns 3, 10 and −1; the second terminated, the last is unfinished."""
    content: dict[str, Any] = {
        "rewards": [1, 2, 1, 2, 3, 4, -1],
        "terminations": np.arange(7) == 5,
        "truncations": np.arange(7) == 1,
        "action_space": Box(-2, 1, (2,)),
    }
    return transitions(7, widths=(3, 2), **{**content, **changes})


@pytest.fixture(scope="module")
def bundled() -> DatasetCard:
    return dataset_card(load_dataset("halfcheetah-mixed"), "halfcheetah-mixed")


class TestNumbers:
    """By hand, and for the bundled data against what is written of them elsewhere."""

    def test_episodes(self) -> None:
        card = dataset_card(recorded())
        assert (card.rows, card.episodes, card.fingerprint) == (7, 3, recorded().fingerprint)
        assert (card.returns.mean, card.returns.minimum, card.returns.maximum) == (4, -1, 10)
        assert (card.lengths.minimum, card.lengths.maximum) == (1, 4)
        assert card.lengths.mean == pytest.approx(7 / 3)

    def test_every_episode_ended_one_way_or_is_unfinished(self) -> None:
        """Flagged both ways, an episode reached a terminal state, and is counted once."""
        for cut in ([1], [1, 5]):
            card = dataset_card(recorded(truncations=np.isin(np.arange(7), cut)))
            assert (card.terminated, card.truncated) == pytest.approx((1 / 3, 1 / 3))

    @pytest.mark.parametrize("rows", [2, 99, 100, 101, 350])
    def test_columns_equal_numpys(self, monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
        """Added up in parts of 100 rows."""
        monkeypatch.setattr(card_module, "_CHUNK", 100)
        states = np.random.default_rng(rows).normal(3, [1, 20, 300], (rows, 3)).astype(np.float32)
        data = transitions(observations=states, next_observations=states)
        columns = dataset_card(data).columns
        assert list(columns) == ["observation 0", "observation 1", "observation 2", "action 0", "reward"]
        wide = np.concatenate([states, data.actions, data.rewards[:, None]], axis=1).astype(np.float64)
        for values, column in zip(wide.T, columns.values(), strict=True):
            assert (column.minimum, column.maximum) == (values.min(), values.max())
            assert (column.mean, column.std) == pytest.approx((values.mean(), values.std()), rel=1e-9, abs=1e-9)

    def test_a_small_spread_far_from_zero(self) -> None:
        """Seconds since 1970 that vary by 1: the mean of squares minus the square of the mean would be noise."""
        clock = (1.7e9 + 128 * np.random.default_rng(0).integers(-3, 4, (10_000, 1))).astype(np.float32)
        found = dataset_card(transitions(observations=clock, next_observations=clock)).columns["observation 0"]
        assert found.std == pytest.approx(clock.astype(np.float64).std(), rel=1e-9)

    def test_the_mean_of_a_discrete_action_is_its_share(self) -> None:
        columns = dataset_card(transitions(actions=[3, 3, 5, 3], action_space=Discrete(3, start=3))).columns
        assert [columns[f"action {index}"].mean for index in range(3)] == [0.75, 0, 0.25]

    def test_bundled(self, bundled: DatasetCard) -> None:
        """As docs/datasets.md has them."""
        assert (bundled.rows, bundled.episodes) == (101_000, 101)
        assert round(bundled.returns.mean, 1) == 1470.4
        assert round(bundled.returns.maximum, 1) == 2736.8
        assert bundled.problems == ()
        assert bundled.task is get_task("halfcheetah-mixed")

    def test_unknown_task(self) -> None:
        with pytest.raises(UnknownNameError, match="halfcheetah-mixed"):
            dataset_card(recorded(), "halfcheetah-mixd")


class TestText:
    """What `mopo data show` prints."""

    def test_bundled(self, bundled: DatasetCard) -> None:
        text = card_text(bundled)
        for part in (
            "101,000 in 101 episodes",
            "the replay buffer of SAC after 101000 steps",
            "MOPO-halfcheetah-mixed, real environment HalfCheetah-v5",
            "Return of an episode: mean 1470.4",
            "the paper's batch: mean 2300.6, largest 4834.2",
            "on D4RL's scale: mean 14.1, largest 24.3",
            "Steps of an episode: mean 1000.0, standard deviation 0.0, smallest 1000.0, largest 1000.0",
            "0.0% of the episodes terminated, 100.0% were cut off",
            "Problems: none found",
        ):
            assert part in text
        assert max(map(len, text.splitlines())) <= 120

    def test_without_a_task(self) -> None:
        text = card_text(dataset_card(recorded(metadata={"name": "mine"})))
        assert "paper" not in text
        assert "D4RL" not in text
        assert "33.3% of the episodes terminated, 33.3% were cut off, the last one is unfinished" in text

    def test_a_task_without_references(self) -> None:
        text = card_text(dataset_card(recorded(), dataclasses.replace(get_task("ant-angle"), termination="never")))
        assert "the paper's batch: mean 866.7" in text
        assert "D4RL's scale" not in text

    def test_problems(self) -> None:
        lines = card_text(dataset_card(recorded(metadata={"rows_dropped": 3}))).splitlines()
        start = lines.index("Problems: 2 found")
        assert lines[start + 1].startswith("  - few rows: only 7 rows")
        assert lines[start + 2].startswith("  - rows dropped: 3 rows of the source")

    def test_metadata(self) -> None:
        """Nested ones by their path, long ones cut, what is said elsewhere left out."""
        metadata = {"d4rl": {"algorithm": "SAC"}, "columns": {"reward": ["r"]}, "long": "x y " * 100}
        text = card_text(dataset_card(recorded(metadata={**metadata, "episode_returns": [1]})))
        assert "d4rl.algorithm" in text
        assert "columns.reward" in text
        assert "episode_returns" not in text
        assert " …\n" in text
        assert max(map(len, text.splitlines())) < 130

    def test_metadata_cannot_write_to_the_terminal(self) -> None:
        """They come from a stranger's file, and an escape sequence can clear the screen or do worse."""
        metadata = {"name": "x\x1b[2Jy\r\nz", "ke\x07y": {"\x9b": "\u202e"}}
        text = card_text(dataset_card(recorded(metadata=metadata)))
        assert not {"\x1b", "\r", "\x07", "\x9b", "\u202e"} & set(text)
        assert "x�[2Jy" in text

    def test_many_columns_are_cut(self) -> None:
        text = card_text(dataset_card(transitions(8, widths=(300, 1))))
        assert "… and 242 more" in text
        assert len(text.splitlines()) < 120


class TestPicture:
    """What `--plot` draws."""

    def test_png(self, bundled: DatasetCard, tmp_path: Path) -> None:
        pytest.importorskip("matplotlib")
        path = save_figure(draw_returns(load_dataset("halfcheetah-mixed"), bundled), tmp_path / "card.png")
        assert path.read_bytes().startswith(b"\x89PNG")
        assert path.stat().st_size > 10_000

    def test_degenerate_data_are_drawn_too(self, tmp_path: Path) -> None:
        """One return, and a name that would be a formula."""
        pytest.importorskip("matplotlib")
        data = recorded(truncations=np.zeros(7), terminations=np.zeros(7), metadata={"name": "$\\frac{"})
        assert save_figure(draw_returns(data, dataset_card(data)), tmp_path / "card.png").is_file()

    @pytest.mark.parametrize("name", ["no/such/folder/card.png", "card.nonsense"])
    def test_what_cannot_be_written(self, tmp_path: Path, name: str) -> None:
        pytest.importorskip("matplotlib")
        with pytest.raises(StoreError, match=r"card\.(png|nonsense): the picture cannot be written"):
            save_figure(draw_returns(recorded(), dataset_card(recorded())), tmp_path / name)
