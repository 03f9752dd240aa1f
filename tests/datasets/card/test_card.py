"""A dataset's card: the numbers are the data's, the text fits a terminal, the picture is drawn."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box
from mopo_env.datasets.card.statistics import correlation, describe_columns

from mopo_env import DatasetCard, Transitions, dataset_card, load_dataset
from mopo_env.datasets.card.plot import plot_card, principal_components
from mopo_env.datasets.card.text import card_text
from mopo_env.errors import StoreError, UnknownNameError
from mopo_env.tasks import get_task
from mopo_env.transitions import Episode


def recorded(**metadata: Any) -> Transitions:
    """Three episodes of 2, 4 and 1 steps with returns 3, 10 and −1; the second terminated, the last is unfinished."""
    random = np.random.default_rng(0)
    rewards = ([1, 2], [1, 2, 3, 4], [-1])
    episodes = [
        Episode(
            observations=random.normal(size=(len(each) + 1, 3)),
            actions=random.uniform(-1, 1, (len(each), 2)),
            rewards=np.array(each),
            terminated=len(each) == 4,
        )
        for each in rewards
    ]
    whole = Transitions.from_episodes(episodes, action_space=Box(-2, 1, (2,)), metadata=metadata)
    return dataclasses.replace(whole, truncations=np.array([0, 1, 0, 0, 0, 0, 0], dtype=bool))


@pytest.fixture
def bundled() -> DatasetCard:
    return dataset_card(load_dataset("halfcheetah-mixed"), "halfcheetah-mixed")


class TestNumbers:
    """By hand, and for the bundled data against what is written of them elsewhere."""

    def test_sizes(self) -> None:
        card = dataset_card(recorded())
        assert (card.rows, card.episodes) == (7, 3)
        assert card.bytes == 7 * (4 * (3 + 2 + 1 + 3) + 2)
        assert card.fingerprint == recorded().fingerprint
        assert (card.observation_space, card.action_space) == (
            str(recorded().observation_space),
            str(recorded().action_space),
        )

    def test_episodes(self) -> None:
        card = dataset_card(recorded())
        assert (card.returns.mean, card.returns.minimum, card.returns.maximum) == (4, -1, 10)
        assert (card.lengths.minimum, card.lengths.maximum) == (1, 4)
        assert card.lengths.mean == pytest.approx(7 / 3)
        assert (card.rewards.minimum, card.rewards.maximum) == (-1, 4)

    def test_every_episode_ended_one_way_or_is_unfinished(self) -> None:
        """Flagged both ways, an episode reached a terminal state, and is counted once."""
        card = dataset_card(recorded())
        assert (card.terminated, card.truncated) == pytest.approx((1 / 3, 1 / 3))
        both = dataclasses.replace(recorded(), truncations=np.array([0, 1, 0, 0, 0, 1, 0], dtype=bool))
        assert dataset_card(both).truncated == pytest.approx(1 / 3)

    def test_actions_at_their_own_bounds(self) -> None:
        """−2 and 1, not −1 and 1; a squashed policy that comes within a thousandth counts."""
        transitions = recorded()
        actions = transitions.actions.copy()
        actions[:, 0] = [1, -2, -1.998, 0.998, -1, 0, -1.99]
        card = dataset_card(dataclasses.replace(transitions, actions=actions))
        np.testing.assert_allclose(card.actions.at_bounds, [4 / 7, 0])
        assert card.actions.columns.minimum[0] == -2

    def test_bundled(self, bundled: DatasetCard) -> None:
        """As docs/datasets.md has them."""
        assert (bundled.rows, bundled.episodes) == (101_000, 101)
        assert round(bundled.returns.mean, 1) == 1470.4
        assert round(bundled.returns.maximum, 1) == 2736.8
        assert bundled.problems == ()
        assert 1 < bundled.effective_dimension < 17
        assert bundled.task is get_task("halfcheetah-mixed")

    def test_unknown_task(self) -> None:
        with pytest.raises(UnknownNameError, match="halfcheetah-mixed"):
            dataset_card(recorded(), "halfcheetah-mixd")

    def test_problems_are_on_it(self) -> None:
        assert [problem.name for problem in dataset_card(recorded()).problems] == ["few_rows"]

    @pytest.mark.slow
    def test_two_million_rows_take_seconds(self) -> None:
        random = np.random.default_rng(0)
        observations = random.normal(size=(2_000_001, 17)).astype(np.float32)
        transitions = Transitions(
            observations=observations[:-1],
            actions=random.uniform(-1, 1, (2_000_000, 6)),
            rewards=random.normal(size=2_000_000),
            next_observations=observations[1:],
            terminations=np.zeros(2_000_000, dtype=bool),
            truncations=np.arange(2_000_000) % 1000 == 999,
        )
        start = time.process_time()
        dataset_card(transitions, "halfcheetah-mixed")
        assert time.process_time() - start < 20


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
            "Steps of an episode: mean 1000, standard deviation 0, smallest 1000, largest 1000",
            "0.0% of the episodes terminated, 100.0% were cut off",
            "Observations vary in 6.4 of 17 directions",
            "Problems: none found",
        ):
            assert part in text
        assert max(map(len, text.splitlines())) <= 120

    def test_histogram(self, bundled: DatasetCard) -> None:
        """The fullest bin has the longest bar, one that is not empty has some, and the counts add up."""
        lines = card_text(bundled).split("\n\n")[3].splitlines()
        bars = [(line.count("█"), int(line.split()[-1].replace(",", ""))) for line in lines if "…" in line]
        assert len(bars) == 10
        assert sum(count for _, count in bars) == 101_000
        assert max(bars)[0] == 40 == max(bars, key=lambda bar: bar[1])[0]
        assert min(bars, key=lambda bar: bar[1]) == (1, 61)  # a 355th of the fullest

    def test_without_a_task(self) -> None:
        text = card_text(dataset_card(recorded(name="mine")))
        assert "paper" not in text
        assert "D4RL" not in text
        assert "33.3% of the episodes terminated, 33.3% were cut off, the last one is unfinished" in text

    def test_a_task_without_references(self) -> None:
        text = card_text(dataset_card(recorded(), dataclasses.replace(get_task("ant-angle"), termination="never")))
        assert "the paper's batch: mean 866.7" in text
        assert "D4RL's scale" not in text

    def test_problems(self) -> None:
        lines = card_text(dataset_card(recorded(rows_dropped=3))).splitlines()
        start = lines.index("Problems: 2 found")
        assert lines[start + 1].startswith("  - few rows: only 7 rows")
        assert lines[start + 2].startswith("  - rows dropped: 3 rows of the source")

    def test_metadata(self) -> None:
        """Nested ones by their path, long ones cut, what is said elsewhere left out."""
        text = card_text(
            dataset_card(
                recorded(d4rl={"algorithm": "SAC"}, columns={"reward": ["r"]}, long="x y " * 100, episode_returns=[1])
            )
        )
        assert "d4rl.algorithm" in text
        assert "columns.reward" in text
        assert "episode_returns" not in text
        assert " …\n" in text
        assert max(map(len, text.splitlines())) < 130

    def test_metadata_cannot_write_to_the_terminal(self) -> None:
        """They come from a stranger's file, and an escape sequence can clear the screen or do worse."""
        text = card_text(dataset_card(recorded(name="x\x1b[2Jy\r\nz", **{"ke\x07y": {"\x9b": "\u202e"}})))
        assert not {"\x1b", "\r", "\x07", "\x9b", "\u202e"} & set(text)
        assert "x�[2Jy" in text

    def test_many_columns_are_cut(self) -> None:
        wide = Transitions.from_episodes(
            [
                Episode(
                    observations=np.random.default_rng(0).normal(size=(9, 300)),
                    actions=np.zeros((8, 1)),
                    rewards=np.zeros(8),
                )
            ]
        )
        text = card_text(dataset_card(wide))
        assert "… and 240 more" in text
        assert len(text.splitlines()) < 120


class TestPicture:
    """What `--plot` draws."""

    def test_png(self, bundled: DatasetCard, tmp_path: Path) -> None:
        pytest.importorskip("matplotlib")
        path = plot_card(load_dataset("halfcheetah-mixed"), bundled, tmp_path / "card.png")
        assert path.read_bytes().startswith(b"\x89PNG")
        assert path.stat().st_size > 20_000

    def test_degenerate_data_are_drawn_too(self, tmp_path: Path) -> None:
        """One column, nothing varies, a name that would be a formula."""
        pytest.importorskip("matplotlib")
        transitions = Transitions.from_episodes(
            [Episode(observations=np.zeros((5, 1)), actions=np.zeros((4, 1)), rewards=np.zeros(4))],
            metadata={"name": "$\\frac{"},
        )
        assert plot_card(transitions, dataset_card(transitions), tmp_path / "card.png").is_file()

    @pytest.mark.parametrize("name", ["no/such/folder/card.png", "card.nonsense"])
    def test_what_cannot_be_written(self, tmp_path: Path, name: str) -> None:
        pytest.importorskip("matplotlib")
        with pytest.raises(StoreError, match=r"card\.(png|nonsense): the picture cannot be written"):
            plot_card(recorded(), dataset_card(recorded()), tmp_path / name)

    def test_components_are_those_of_the_scaled_data(self) -> None:
        """The variances along them are the largest eigenvalues of the correlation matrix, and they are uncorrelated."""
        random = np.random.default_rng(0).normal(size=(500, 4))
        array = random @ np.random.default_rng(1).normal(size=(4, 4)) * [1, 10, 100, 0.1] + 7
        columns = describe_columns(array)
        found = principal_components(array, columns)
        eigenvalues = np.linalg.eigvalsh(correlation(columns))[::-1]
        np.testing.assert_allclose(np.cov(found.T, ddof=0), np.diag(eigenvalues[:2]), atol=1e-9)
        np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-9)

    def test_fewer_varying_columns_than_components(self) -> None:
        array = np.stack([np.arange(5.0), np.ones(5)], axis=1)
        found = principal_components(array, describe_columns(array))
        assert found.shape == (5, 2)
        assert (found[:, 1] == 0).all()
        assert found[:, 0].std() == pytest.approx(1)
