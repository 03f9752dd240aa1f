"""Some damaged files for every loader, the same ones each time; ``run.py`` does it for hours, and finds more."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz.mutations import mutate
from fuzz.targets import TARGETS, Fuzzed, Target, Violation

pytest.importorskip("pyarrow")


@pytest.fixture(scope="module", params=TARGETS)
def fuzzed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Fuzzed:
    return Fuzzed(TARGETS[request.param], tmp_path_factory.mktemp("files"))


@given(place=st.integers(0, 100), seed=st.integers(0, 2**32), resealed=st.booleans())
@settings(max_examples=40, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
def test_a_damaged_file_is_refused_or_changes_nothing(fuzzed: Fuzzed, place: int, seed: int, resealed: bool) -> None:
    """No error but ours, no second of computing, no 200 MB; whoever loads files can rely on that."""
    names = list(fuzzed.bodies)
    name = names[place % len(names)]
    fuzzed.execute(name, mutate(fuzzed.bodies[name], seed), resealed=resealed)


def _of_length(folder: Path) -> int:
    return len((folder / "file").read_bytes())


class TestTheCheck:
    """A check that notices nothing would always pass."""

    def execute(self, folder: Path, read: object, body: bytes) -> str:
        fuzzed = Fuzzed(Target(lambda made: (made / "file").write_bytes(b"abc"), read), folder)  # type: ignore[arg-type]
        return fuzzed.execute("file", body)

    def test_what_is_read_otherwise(self, tmp_path: Path) -> None:
        assert self.execute(tmp_path, _of_length, b"xyz") == "same"

    def test_another_result_is_noticed(self, tmp_path: Path) -> None:
        with pytest.raises(Violation, match="something else"):
            self.execute(tmp_path, _of_length, b"ab")

    def test_too_much_memory_is_noticed(self, tmp_path: Path) -> None:
        def read(folder: Path) -> int:
            return len(bytes(bytearray(b"x") * (300_000_000 if _of_length(folder) == 4 else 1))) * 0

        with pytest.raises(Violation, match="MB"):
            self.execute(tmp_path, read, b"abcd")

    def test_too_much_time_is_noticed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def read(folder: Path) -> int:
            return sum(range(2_000_000 if _of_length(folder) == 4 else 1)) * 0

        monkeypatch.setattr("fuzz.targets.SECONDS", 0.01)
        with pytest.raises(Violation, match="s of computing"):
            self.execute(tmp_path, read, b"abcd")
