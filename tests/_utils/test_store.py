"""The writer and the reader of our files: whole or not at all, and nothing damaged passes."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.damage import errors_with_little_memory, rewrite_json

from mopo_env._utils import store
from mopo_env._utils.json_files import json_ready
from mopo_env._utils.store import FORMAT_VERSION, artifact_versions, read_artifact, write_artifact, write_file
from mopo_env.errors import StoreError

OLD = {"weights": np.arange(60, dtype=np.float32).reshape(3, 20), "flags": np.array([True, False])}
NEW = {"weights": np.full((3, 20), 7, dtype=np.float32)}
METADATA = {"name": "toy", "loss": [0.5, 0.25], "nested": {"epochs": 3, "done": True, "note": None}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that holds one artifact."""
    write_artifact(tmp_path / "run", "thing", OLD, METADATA)
    return tmp_path / "run"


def tensor_file(folder: Path) -> Path:
    (path,) = folder.glob("thing-*.safetensors")
    return path


def listing(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def assert_same_tensors(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array, strict=True)


def rewrite_manifest(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    rewrite_json(folder / "thing.json", change)


def plant(folder: Path, body: bytes) -> None:
    """Put a tensor file in place whose size and checksum are right, as an attacker would."""
    tensor_file(folder).write_bytes(body)
    sizes = {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    rewrite_manifest(folder, lambda manifest: manifest["tensors"].update(sizes))


class TestRoundTrip:
    """What goes in comes out, and only that lies in the folder."""

    @pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int64", "int32", "uint8", "bool"])
    @pytest.mark.parametrize("shape", [(), (1,), (0, 3), (2, 3), (2, 1, 2)])
    def test_dtype_and_shape(self, tmp_path: Path, dtype: str, shape: tuple[int, ...]) -> None:
        array = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
        write_artifact(tmp_path, "thing", {"a": array}, {})
        assert_same_tensors(read_artifact(tmp_path, "thing")[0], {"a": array})

    def test_special_values_are_kept_bit_by_bit(self, tmp_path: Path) -> None:
        """Denormals, −0.0 and NaN payloads are where a detour over text or float64 would show."""
        bits = np.array([0x80000000, 0x00000001, 0x7F800000, 0x7FC00123], dtype=np.uint32)
        write_artifact(tmp_path, "thing", {"a": bits.view(np.float32)}, {})
        np.testing.assert_array_equal(read_artifact(tmp_path, "thing")[0]["a"].view(np.uint32), bits)

    def test_layout_in_memory_does_not_matter(self, tmp_path: Path) -> None:
        """Safetensors writes the buffer as it lies, so a transposed or strided view must be copied first."""
        array = np.arange(12, dtype=np.float32).reshape(3, 4)
        views = {"transposed": array.T, "strided": array[:, ::2], "big-endian": array.astype(">f4")}
        write_artifact(tmp_path, "thing", views, {})
        found, _ = read_artifact(tmp_path, "thing")
        for name, view in views.items():
            np.testing.assert_array_equal(found[name], view)

    def test_metadata(self, folder: Path) -> None:
        assert read_artifact(folder, "thing")[1] == METADATA

    def test_manifest_names_what_is_needed_to_trust_it(self, folder: Path) -> None:
        manifest = json.loads((folder / "thing.json").read_text())
        body = tensor_file(folder).read_bytes()
        assert manifest["format"] == "mopo-env/thing"
        assert manifest["format_version"] == FORMAT_VERSION
        assert manifest["tensors"] == {
            "file": tensor_file(folder).name,
            "bytes": len(body),
            "sha256": hashlib.sha256(body).hexdigest(),
        }
        assert manifest["versions"]["numpy"] == np.__version__

    def test_returns_the_manifest_and_makes_folders(self, tmp_path: Path) -> None:
        path = write_artifact(str(tmp_path / "a b" / "ü"), "thing", OLD, {})
        assert path == tmp_path / "a b" / "ü" / "thing.json"
        assert_same_tensors(read_artifact(str(path.parent), "thing")[0], OLD)

    def test_writing_again_leaves_one_pair(self, folder: Path) -> None:
        """Every write has a new tensor file; without tidying up, a training run would fill the disk."""
        before = tensor_file(folder)
        write_artifact(folder, "thing", NEW, {})
        assert_same_tensors(read_artifact(folder, "thing")[0], NEW)
        assert sorted(path.name for path in folder.iterdir()) == [tensor_file(folder).name, "thing.json"]
        assert tensor_file(folder) != before

    def test_equal_content_gives_equal_files(self, folder: Path, tmp_path: Path) -> None:
        write_artifact(tmp_path / "again", "thing", OLD, METADATA)
        assert listing(tmp_path / "again") == listing(folder)

    def test_two_artifacts_share_a_folder(self, folder: Path) -> None:
        """A run folder holds both the dataset and the ensemble."""
        write_artifact(folder, "other", NEW, {})
        write_artifact(folder, "other", OLD, {})
        assert_same_tensors(read_artifact(folder, "thing")[0], OLD)
        assert_same_tensors(read_artifact(folder, "other")[0], OLD)


class TestMetadata:
    """What JSON can hold is kept, the rest refused before anything is written."""

    def test_numpy_and_paths_become_json(self) -> None:
        found = json_ready(
            {
                "scalar": np.float32(0.5),
                "integer": np.int64(3),
                "flag": np.bool_(True),
                "array": np.array([[1, 2], [3, 4]]),
                "path": Path("a") / "b",
                "tuple": (1, "x", None),
                4: 1.5,
            }
        )
        assert found == {
            "scalar": 0.5,
            "integer": 3,
            "flag": True,
            "array": [[1, 2], [3, 4]],
            "path": str(Path("a") / "b"),
            "tuple": [1, "x", None],
            "4": 1.5,
        }
        assert json.loads(json.dumps(found, allow_nan=False)) == found

    @pytest.mark.parametrize(
        ("value", "part"),
        [
            (float("nan"), "found nan"),
            (float("inf"), "found inf"),
            (np.float32("-inf"), "found -inf"),
            ({"a": [1.0, float("nan")]}, "found nan"),
            (np.array([0.0, np.nan]), "found nan"),
            (object(), "type object"),
            ({1, 2}, "type set"),
            (b"x", "type bytes"),
            (1j, "type complex"),
        ],
    )
    def test_refusals_leave_the_old_artifact(self, folder: Path, value: Any, part: str) -> None:
        """JSON has no NaN: Python would write one that other readers refuse, or turn it into null."""
        before = listing(folder)
        with pytest.raises(StoreError, match=part):
            write_artifact(folder, "thing", NEW, {"value": value})
        assert listing(folder) == before


class TestDamage:
    """A damaged artifact is refused, and the message names the file."""

    def test_truncated_anywhere(self, folder: Path) -> None:
        """What a full disk or a broken download leaves behind."""
        random = np.random.default_rng(0)
        for path in (tensor_file(folder), folder / "thing.json"):
            whole = path.read_bytes()
            # The manifest's last byte is a line break, the only one that carries nothing.
            last = len(whole) - 1 - (path.suffix == ".json")
            sizes = {0, 1, 8, len(whole) // 2, last, *random.integers(0, last, 20).tolist()}
            for size in sorted(sizes):
                path.write_bytes(whole[:size])
                with pytest.raises(StoreError) as caught:
                    read_artifact(folder, "thing")
                assert str(folder) in str(caught.value), size
            path.write_bytes(whole)
        assert_same_tensors(read_artifact(folder, "thing")[0], OLD)

    def test_any_flipped_bit_of_the_tensors(self, folder: Path) -> None:
        path = tensor_file(folder)
        whole = path.read_bytes()
        random = np.random.default_rng(1)
        for bit in random.integers(0, 8 * len(whole), 50).tolist():
            damaged = bytearray(whole)
            damaged[bit // 8] ^= 1 << bit % 8
            path.write_bytes(damaged)
            with pytest.raises(StoreError, match=r"SHA-256 .* damaged or was altered"):
                read_artifact(folder, "thing")

    @pytest.mark.parametrize("lost", ["thing.json", "thing-*.safetensors"])
    def test_missing_file_is_named(self, folder: Path, lost: str) -> None:
        (path,) = folder.glob(lost)
        path.unlink()
        with pytest.raises(StoreError) as caught:
            read_artifact(folder, "thing")
        assert str(path) in str(caught.value)
        assert "no such file" in str(caught.value)

    def test_folder_is_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("x")
        with pytest.raises(StoreError, match="cannot be read"):
            read_artifact(tmp_path / "file", "thing")
        with pytest.raises(StoreError, match="cannot be written"):
            write_artifact(tmp_path / "file", "thing", OLD, {})
        assert (tmp_path / "file").read_text() == "x"

    def test_one_kind_is_not_read_as_another(self, folder: Path) -> None:
        (folder / "thing.json").rename(folder / "other.json")
        with pytest.raises(StoreError, match="expected the format 'mopo-env/other', found 'mopo-env/thing'"):
            read_artifact(folder, "other")

    @pytest.mark.parametrize("version", [FORMAT_VERSION + 1, 0, "1", None])
    def test_newer_format_version(self, folder: Path, version: Any) -> None:
        """Checked before anything else of the file is believed; the way out is to upgrade."""
        rewrite_manifest(folder, lambda manifest: manifest.update(format_version=version, tensors="elsewhere"))
        with pytest.raises(StoreError) as caught:
            read_artifact(folder, "thing")
        for part in (repr(version), f"reads {FORMAT_VERSION}", "Upgrade mopo-env"):
            assert part in str(caught.value)

    @pytest.mark.parametrize(
        "body",
        [
            b"[]",
            b"null",
            b'"text"',
            b"{}",
            b"\xff\xfe",
            b"[" * 100_000,
            b'{"format": "mopo-env/thing"}',
            b'{"format": "mopo-env/thing", "format_version": 1, "tensors": []}',
            b'{"format": "mopo-env/thing", "format_version": 1, "tensors": {"file": "x"}}',
            b'{"format": "mopo-env/thing", "format_version": ' + b"9" * 5000 + b"}",
        ],
        ids=lambda body: body[:24].decode(errors="replace"),
    )
    def test_json_that_is_no_manifest(self, folder: Path, body: bytes) -> None:
        (folder / "thing.json").write_bytes(body)
        with pytest.raises(StoreError, match=r"thing\.json"):
            read_artifact(folder, "thing")

    @pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
    def test_manifest_with_a_constant_that_is_not_json(self, folder: Path, constant: str) -> None:
        path = folder / "thing.json"
        path.write_text(path.read_text().replace("0.25", constant))
        with pytest.raises(StoreError, match=f"{constant} is not JSON"):
            read_artifact(folder, "thing")

    @pytest.mark.parametrize("metadata", ["text", 5, None, [1, 2]])
    def test_metadata_that_is_no_mapping(self, folder: Path, metadata: Any) -> None:
        rewrite_manifest(folder, lambda manifest: manifest.update(metadata=metadata))
        with pytest.raises(StoreError, match="damaged"):
            read_artifact(folder, "thing")


class TestHostile:
    """Files that somebody else made."""

    @pytest.mark.parametrize("file", ["../secret", "/etc/hostname", "sub/secret", "..", ".", "", 5, None, ["x"]])
    def test_tensor_file_stays_in_the_folder(self, folder: Path, file: Any) -> None:
        """A manifest from elsewhere must not make us read any file it likes, even with the right checksum."""
        (folder / "sub").mkdir()
        body = tensor_file(folder).read_bytes()
        for place in (folder.parent / "secret", folder / "sub" / "secret"):
            place.write_bytes(body)
        rewrite_manifest(folder, lambda manifest: manifest["tensors"].update(file=file))
        with pytest.raises(StoreError):
            read_artifact(folder, "thing")

    @staticmethod
    def _body(header: bytes | dict[str, Any], data: bytes = b"", size: int | None = None) -> bytes:
        raw = header if isinstance(header, bytes) else json.dumps(header).encode()
        return struct.pack("<Q", len(raw) if size is None else size) + raw + data

    @pytest.mark.parametrize(
        ("header", "data", "size"),
        [
            ({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, b"\0" * 4, 2**63),
            ({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, b"\0" * 4, 3),
            (b"\xff\xff", b"", None),
            (b"{", b"", None),
            (b"[]", b"", None),
            ({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}, b"\0" * 4, None),
            ({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, b"\0" * 8, None),
            ({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}, b"\0" * 8, None),
            ({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}, b"\0" * 4, None),
            ({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, b"\0" * 4, None),
            ({"a": {"dtype": "F32", "shape": [2**62, 8], "data_offsets": [0, 0]}}, b"", None),
            ({"a": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}}, b"", None),
            ({"a": {"dtype": "OBJ", "shape": [1], "data_offsets": [0, 4]}}, b"\0" * 4, None),
            ({"a": {"dtype": "F8_E5M2", "shape": [1], "data_offsets": [0, 1]}}, b"\0", None),
            (
                {
                    "a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
                    "b": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]},
                },
                b"\0" * 12,
                None,
            ),
            (b'{"__metadata__": 5}', b"", None),
        ],
        ids=[
            "size beyond the file",
            "size too small",
            "not UTF-8",
            "not JSON",
            "no mapping",
            "shape and size differ",
            "trailing bytes",
            "hole",
            "offsets reversed",
            "negative shape",
            "shape overflows",
            "4 TB declared",
            "unknown type",
            "type NumPy lacks",
            "overlap",
            "bad metadata",
        ],
    )
    def test_bad_tensor_headers(self, folder: Path, header: Any, data: bytes, size: int | None) -> None:
        """The checksum only says that the file is the one its author meant."""
        plant(folder, self._body(header, data, size))
        with pytest.raises(StoreError, match="not a thing of mopo-env, or damaged"):
            read_artifact(folder, "thing")

    @pytest.mark.parametrize("target", ["/dev/null", "."])
    @pytest.mark.parametrize("name", ["thing.json", "tensors"])
    def test_links_to_what_is_no_file(self, folder: Path, target: str, name: str) -> None:
        """Some devices have no end, and reading one would end with the machine's memory; this one is harmless."""
        path = tensor_file(folder) if name == "tensors" else folder / name
        path.unlink()
        path.symlink_to(target)
        with pytest.raises(StoreError, match=rf"{path.name}: found a folder or a device"):
            read_artifact(folder, "thing")

    @pytest.mark.parametrize("name", ["thing.json", "tensors"])
    def test_a_file_of_terabytes(self, folder: Path, name: str) -> None:
        """A sparse file takes no room on the disk, and all the room in memory."""
        path = tensor_file(folder) if name == "tensors" else folder / name
        with path.open("r+b") as stream:
            stream.truncate(4 * 2**40)
        (error,) = errors_with_little_memory("mopo_env._utils.store.read_artifact(argument, 'thing')", folder)
        assert "found 4,398,046,511,104 bytes" in error

    def test_planted_files_are_read_when_they_are_sound(self, folder: Path) -> None:
        """So that the tests above fail for the header they plant and not for how they plant it."""
        plant(folder, self._body({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, b"\0" * 4))
        assert_same_tensors(read_artifact(folder, "thing")[0], {"a": np.zeros(1, dtype=np.float32)})


class TestCrashSafety:
    """The old content or the new, whatever fails."""

    @pytest.mark.parametrize("call", [1, 2, 3, 4])
    def test_fsync_fails(self, folder: Path, monkeypatch: pytest.MonkeyPatch, call: int) -> None:
        """Calls 1 and 3 sync the files, 2 and 4 the folder; before the third, nothing of the old may be gone."""
        sync, calls = os.fsync, []

        def fail(descriptor: int) -> None:
            calls.append(descriptor)
            if len(calls) == call:
                raise OSError(5, "Input/output error")
            sync(descriptor)

        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises(StoreError, match="Input/output error"):
            write_artifact(folder, "thing", NEW, {})
        assert len(calls) == call
        found, _ = read_artifact(folder, "thing")
        # After the fourth call began, the new manifest is in place; a crash may show either, and both are whole.
        assert_same_tensors(found, OLD if call < 4 else NEW)
        assert not list(folder.glob(".*"))

    @pytest.mark.parametrize("call", [1, 2])
    def test_replace_fails(self, folder: Path, monkeypatch: pytest.MonkeyPatch, call: int) -> None:
        replace, calls = Path.replace, []

        def fail(self: Path, target: Path) -> Path:
            calls.append(target)
            if len(calls) == call:
                raise PermissionError(13, "Permission denied")
            return replace(self, target)

        monkeypatch.setattr(Path, "replace", fail)
        with pytest.raises(StoreError) as caught:
            write_artifact(folder, "thing", NEW, {})
        for part in ("cannot be written", "Permission denied", "intact", str(folder)):
            assert part in str(caught.value)
        assert read_artifact(folder, "thing")[1] == METADATA
        assert_same_tensors(read_artifact(folder, "thing")[0], OLD)
        assert not list(folder.glob(".*"))

    def test_content_is_synced_before_it_takes_the_name(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """In any other order a power cut can leave an empty file under the right name."""
        events: list[str] = []
        sync, replace = os.fsync, Path.replace

        def record_sync(descriptor: int) -> None:
            name = Path(f"/proc/self/fd/{descriptor}").readlink()
            events.append("sync folder" if name.is_dir() else f"sync {name.stat().st_size} bytes")
            sync(descriptor)

        def record_replace(self: Path, target: Path) -> Path:
            events.append("replace")
            return replace(self, target)

        monkeypatch.setattr(os, "fsync", record_sync)
        monkeypatch.setattr(Path, "replace", record_replace)
        write_file(tmp_path / "x", b"12345")
        assert events == ["sync 5 bytes", "replace", "sync folder"]

    def test_temporary_file_lies_in_the_same_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Replacing is one step only within a file system, and unique names keep writers apart."""
        seen: list[Path] = []
        replace = Path.replace

        def record(self: Path, target: Path) -> Path:
            seen.append(self)
            return replace(self, target)

        monkeypatch.setattr(Path, "replace", record)
        write_file(tmp_path / "x", b"1")
        write_file(tmp_path / "x", b"2")
        assert {path.parent for path in seen} == {tmp_path}
        assert len(set(seen)) == 2

    def test_abandoned_temporary_files(self, folder: Path) -> None:
        """A killed writer leaves its temporary file: remove it once the writer is gone, and never another's."""
        with subprocess.Popen([sys.executable, "-c", ""]) as process:
            process.wait()
        dead, impossible, alive = (
            folder / f".thing.json.{number}.abc.tmp" for number in (process.pid, 10**30, os.getpid())
        )
        foreign = [folder / ".thing.json.notes.tmp", folder / f".another.json.{process.pid}.abc.tmp"]
        for path in (dead, impossible, alive, *foreign):
            path.write_bytes(b"half")
        write_artifact(folder, "thing", NEW, {})
        assert not dead.exists()
        assert not impossible.exists()
        for path in (alive, *foreign):
            assert path.read_bytes() == b"half"

    def test_reader_during_a_replacement(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A reader that has read the old manifest finds its tensor file gone, and must see the new artifact."""
        read, done = store.read_regular_file, []

        def replaced_meanwhile(path: Path, **limits: Any) -> bytes:
            body = read(path, **limits)
            if path.suffix == ".json" and not done:
                done.append(True)
                write_artifact(folder, "thing", NEW, {"new": True})
            return body

        monkeypatch.setattr(store, "read_regular_file", replaced_meanwhile)
        found, metadata = read_artifact(folder, "thing")
        assert done
        assert_same_tensors(found, NEW)
        assert metadata == {"new": True}

    def test_reader_while_the_old_content_comes_back(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its tensor file is missing, and the manifest read again is the same: the file is there again as well."""
        read, missing = store.read_regular_file, [True]

        def back_again(path: Path, **limits: Any) -> bytes:
            if path.suffix == ".safetensors" and missing:
                missing.clear()
                raise FileNotFoundError(2, "No such file or directory", str(path))
            return read(path, **limits)

        monkeypatch.setattr(store, "read_regular_file", back_again)
        assert_same_tensors(read_artifact(folder, "thing")[0], OLD)

    def test_reader_that_slept(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """However long it slept after it had read the old manifest: it looks at the new one before it gives up."""
        read, done = store.read_regular_file, []

        def asleep(path: Path, **limits: Any) -> bytes:
            body = read(path, **limits)
            if path.suffix == ".json" and not done:
                done.append(True)
                write_artifact(folder, "thing", NEW, {})
                time.sleep(0.7)
            return body

        monkeypatch.setattr(store, "read_regular_file", asleep)
        assert_same_tensors(read_artifact(folder, "thing")[0], NEW)

    def test_disk_full(self, folder: Path) -> None:
        """A file-size limit stands in for a full disk: the process lives, the message says why, the old is there."""
        script = (
            "import resource, signal, sys\n"
            "import numpy as np\n"
            "from mopo_env.errors import StoreError\n"
            "from mopo_env._utils.store import write_artifact\n"
            "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))\n"
            "try:\n"
            "    write_artifact(sys.argv[1], 'thing', {'weights': np.ones(100_000)}, {})\n"
            "except StoreError as error:\n"
            "    sys.exit(f'StoreError: {error}')\n"
        )
        before = listing(folder)
        done = subprocess.run([sys.executable, "-c", script, str(folder)], capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert "StoreError" in done.stderr
        assert "File too large" in done.stderr
        assert str(folder) in done.stderr
        assert listing(folder) == before
        assert_same_tensors(read_artifact(folder, "thing")[0], OLD)

    def test_name_too_long(self, tmp_path: Path) -> None:
        """Even the attempt to tidy up fails here, and our error must still be the one that is seen."""
        with pytest.raises(StoreError, match="cannot be written"):
            write_file(tmp_path / ("x" * 250), b"")
        assert not list(tmp_path.iterdir())


def test_versions_that_wrote_an_artifact(folder: Path) -> None:
    """For people to read: whatever is wrong with them must not keep anybody from the data."""
    assert artifact_versions(folder, "thing")["numpy"] == np.__version__
    for versions in (None, [], "x", {"numpy": {"a": 1}}):
        rewrite_manifest(folder, lambda manifest, value=versions: manifest.update(versions=value))
        assert all(isinstance(number, str) for number in artifact_versions(folder, "thing").values())
    (folder / "thing.json").write_text("{")
    assert artifact_versions(folder, "thing") == {}
    assert artifact_versions(folder / "nowhere", "thing") == {}
