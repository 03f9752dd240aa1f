"""One flipped bit in a JSON file of ours is noticed, or changes nothing that the file says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.agents import halfcheetah_rows, make_small, penalized_model
from helpers.damage import rewrite_json, rewritten, set_tensor
from helpers.models import fitted_ensemble
from helpers.runs import leave_run

from mopo_agents.policies import load_policy, save_policy
from mopo_agents.runs.results import read_run
from mopo_env._utils.json_files import json_text, parse_json, read_json
from mopo_env.datasets.files import load_transitions, save_transitions
from mopo_env.errors import StoreError
from mopo_env.models.ensemble import load_ensemble, save_ensemble
from mopo_env.terminations.learned import LearnedTermination, load_termination, save_termination

Read = Callable[[Path], Any]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Read]]:
    """One file of each kind, and what reads it."""
    folder = tmp_path_factory.mktemp("files")
    data = halfcheetah_rows(30)
    rule, run = LearnedTermination(17, 6, hidden_sizes=(4,)), leave_run(folder / "run")
    rule.metadata = {"test": {"f1": 0.75}}
    return {
        "dataset": (save_transitions(data, folder), load_transitions),
        "ensemble": (save_ensemble(fitted_ensemble(data), folder), load_ensemble),
        "termination": (save_termination(rule, folder), load_termination),
        "policy": (save_policy(make_small("SAC", penalized_model()), folder / "policy"), load_policy),
        "config": (run / "config.json", read_run),
        "result": (run / "result.json", read_run),
    }


def flip(path: Path, read: Read, bits: list[int]) -> dict[str, int]:
    """Flip bits, one after the other, and count the outcomes."""
    whole, counts = path.read_bytes(), {"noticed": 0, "same meaning": 0}
    said = json.loads(whole)
    for bit in bits:
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            read(path.parent)
        except StoreError:
            counts["noticed"] += 1
        else:
            assert json.loads(bytes(damaged)) == said, f"bit {bit} passed unnoticed: {damaged[bit // 8 - 20 :][:40]!r}"
            counts["same meaning"] += 1
    path.write_bytes(whole)
    read(path.parent)
    return counts


KINDS = ["dataset", "ensemble", "termination", "policy", "config", "result"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_flipped_bit_is_noticed(kind: str, files: dict[str, tuple[Path, Read]]) -> None:
    """Of 5,168 flips, 693 once passed: a horizon, a coefficient or a return was then simply another."""
    path, read = files[kind]
    size = 8 * len(path.read_bytes())
    counts = flip(path, read, np.random.default_rng(0).integers(0, size, 150).tolist())
    assert counts["same meaning"] <= 2


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_thousands_of_flipped_bits_are_noticed(kind: str, files: dict[str, tuple[Path, Read]]) -> None:
    path, read = files[kind]
    size = 8 * len(path.read_bytes())
    counts = flip(path, read, np.random.default_rng(1).permutation(size)[:3_000].tolist())
    print(f"\n{kind}.json: {counts}")  # noqa: T201  # counts for the record
    assert counts["same meaning"] <= 8


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_without_its_digest_is_refused(kind: str, files: dict[str, tuple[Path, Read]]) -> None:
    """Or the digest could simply be left out."""
    path, read = files[kind]
    whole = path.read_bytes()
    content = json.loads(whole)
    del content["sha256"]
    path.write_text(json.dumps(content))
    with pytest.raises(StoreError, match="found no digest"):
        read(path.parent)
    path.write_bytes(whole)


@pytest.mark.parametrize("name", ["rows", "episodes", "fingerprint"])
def test_a_dataset_is_what_its_manifest_says(name: str, tmp_path: Path) -> None:
    """Tensors and manifest that are whole, but of different data."""
    save_transitions(halfcheetah_rows(30), tmp_path)
    rewrite_json(tmp_path / "dataset.json", lambda manifest: manifest["metadata"].update({name: 7}))
    with pytest.raises(StoreError, match=f"{name}: found .*, but the manifest says 7"):
        load_transitions(tmp_path)
    rewrite_json(tmp_path / "dataset.json", lambda manifest: manifest["metadata"].pop(name))
    with pytest.raises(StoreError, match=f"{name}: found .*, but the manifest says None"):
        load_transitions(tmp_path)


def test_tensors_of_other_data_are_noticed(tmp_path: Path) -> None:
    """With checksums that are right, as a program that mixes files up would write them."""
    data = halfcheetah_rows(30)
    save_transitions(data, tmp_path)
    rewritten(tmp_path, "dataset", set_tensor("rewards", data.rewards + 1))
    with pytest.raises(StoreError, match="fingerprint: found"):
        load_transitions(tmp_path)


class TestStrictJson:
    """What JSON allows or Python adds, and what readers then disagree about."""

    @pytest.mark.parametrize(
        ("body", "part"),
        [
            (b'{"a": 1e999}', "beyond the range"),
            (b'{"a": -1e999}', "beyond the range"),
            (b'{"a": NaN}', "NaN is not JSON"),
            (b'{"a": ' + b"9" * 400 + b"}", "too long"),
            (b'{"a": 1, "a": 2}', "'a' occurs twice"),
            (b'{"b": {"a": 1, "c": 0, "a": 1}}', "'a' occurs twice"),
            (b'{"a": "\\u001b[2J"}', "control characters"),
            (b'{"a": [["\\u009b"]]}', "control characters"),
            (b'{"\\u202e": 0}', "control characters"),
            (b'{"a": "\\ud800"}', "control characters"),
            (b'\xff\xfe{\x00"\x00a\x00"\x00:\x001\x00}\x00', "utf-8"),
            (b"[1]", "found a list"),
        ],
        ids=lambda value: repr(value)[:30],
    )
    def test_refused(self, body: bytes, part: str, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=part):
            parse_json(body)
        (tmp_path / "x.json").write_bytes(body)
        with pytest.raises(StoreError, match=part):
            read_json(tmp_path / "x.json")

    @pytest.mark.parametrize("text", ["\x1b[2J", "\x00", "\r", "\u202e", "\x9b"])
    def test_what_could_not_be_read_is_not_written(self, text: str) -> None:
        for content in ({"a": text}, {text: 0}, {"a": [{"b": text}]}):
            with pytest.raises(StoreError, match="control characters"):
                json_text(content)

    def test_words_of_all_languages_are_kept(self, tmp_path: Path) -> None:
        content = {"naïve": "速度 км/ч 🙂\u200d\xa0\n\t", "n": [1, -0.5, 1e-300, 2**90, True, None]}
        (tmp_path / "x.json").write_bytes(json_text(content))
        assert read_json(tmp_path / "x.json") == content

    def test_the_digest_is_of_what_is_said_not_of_how(self, tmp_path: Path) -> None:
        """A program that formats JSON anew, or sorts its names, changes nothing."""
        content = parse_json(json_text({"b": 1.50, "a": [1, {"c": "x"}]}))
        (tmp_path / "x.json").write_text(json.dumps(content, indent=7, sort_keys=True))
        assert read_json(tmp_path / "x.json") == {"b": 1.5, "a": [1, {"c": "x"}]}
