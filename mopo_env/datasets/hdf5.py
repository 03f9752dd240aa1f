"""Read arrays of strangers' HDF5 files: check each before memory is allocated, and read nothing outside the file."""

import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import h5py
import numpy as np
from h5py import h5d, h5g, h5i, h5l, h5o, h5p, h5s, h5t

from mopo_env.errors import DatasetError

# DEFLATE packs at most 258 bytes into two bits, and LZF packs less. A file that claims more is forged.
LARGEST_RATIO = 1032
_COMPRESSORS = {h5py.h5z.FILTER_DEFLATE: "gzip", h5py.h5z.FILTER_LZF: "lzf"}
_HARMLESS = {h5py.h5z.FILTER_SHUFFLE: "shuffle", h5py.h5z.FILTER_FLETCHER32: "fletcher32"}
_LONGEST_STRING = 10_000
# Bytes; every machine has this much memory.
_SMALL = 2**20


@contextmanager
def open_hdf5(path: Path | str) -> Iterator[h5py.File]:
    """Open a file for reading. Every error within the block becomes a `DatasetError` that names the file.

    Raises:
        DatasetError: If there is no such file, or it is damaged.
    """
    path = Path(path)
    try:
        if not path.is_file():
            raise DatasetError("no such file.")
        # Every array is read once and as a whole, so a cache of chunks would cost time.
        with h5py.File(path, "r", rdcc_nbytes=0, rdcc_nslots=1) as file:
            yield file
    except DatasetError as error:
        raise DatasetError(f"{path}: {error}") from error
    except Exception as error:  # h5py raises almost anything on damaged files, MemoryError included
        raise DatasetError(
            f"{path}: cannot be read as HDF5: {type(error).__name__}: {error}. The file is damaged, incomplete or of "
            "another kind; fetch it again."
        ) from error


@dataclass(frozen=True, slots=True)
class PlainArray:
    """An array that was checked and can be read, with its stored shape."""

    shape: tuple[int, ...]
    _dataset: h5d.DatasetID

    def read(self, dtype: type[np.generic] | None = None) -> np.ndarray:
        """Return the values, converted to a type; default: the stored type."""
        values = np.empty(self.shape, dtype=dtype or self._dataset.dtype)
        self._dataset.read(h5s.ALL, h5s.ALL, values)
        return values


def plain_array(group: h5py.Group, name: str, *, kinds: str) -> PlainArray | None:
    """Find an array of a file, or of a group that `plain_group` returned, without reading it.

    The `kinds` are NumPy's letters for the expected types, such as ``"f"``. The result is None if there is no array of
    this name. An array needs at most `LARGEST_RATIO` times the memory of the file's size.

    Raises:
        DatasetError: If it is a link, a group, of another type, stored outside the file, or larger than the file can
            hold.
    """
    dataset = _find(group, name)
    if dataset is None:
        return None
    shape, datatype = dataset.shape, dataset.get_type()
    kind = _kind(datatype)
    if shape is None or kind not in kinds:
        found = "no data" if shape is None else f"the type {datatype.dtype}"
        raise DatasetError(f"{name}: found {found}, expected {_describe(kinds)}.")
    _check_size(name, dataset, shape, datatype.get_size())
    return PlainArray(shape, dataset)


def plain_group(group: h5py.Group, name: str) -> h5py.Group | None:
    """Find a group that is stored in this file; None if there is no group of this name.

    Raises:
        DatasetError: If it is a link, or not a group.
    """
    found = _open(group, name, "a group")
    return None if found is None else h5py.Group(found)


def plain_strings(file: h5py.File, group_name: str) -> dict[str, str]:
    """Read the strings of a fixed length among a group's first hundred entries. Other entries are ignored.

    Strings of variable length lie in a heap. HDF5 reads a damaged heap without end, and cannot be interrupted.
    """
    group, strings = None, {}
    with suppress(DatasetError):
        group = plain_group(file, group_name)
    for name in islice(group or (), 100):
        with suppress(DatasetError):
            dataset = _find(group, name)
            if dataset is None or dataset.shape != () or dataset.dtype.kind != "S":
                continue
            _check_size(name, dataset, (), dataset.get_type().get_size())
            text = bytes(h5py.Dataset(dataset)[()]).decode("utf-8", "replace")
            if len(text) <= _LONGEST_STRING:
                strings[name] = text
    return strings


def _open(group: h5py.Group, name: str, expected: str) -> h5g.GroupID | h5d.DatasetID | None:
    """Open the object of a name, without following links; None if there is none."""
    links, encoded = group.id.links, name.encode()
    if not links.exists(encoded):
        return None
    if links.get_info(encoded).type != h5l.TYPE_HARD:
        link = group.get(name, getlink=True)
        target = f"{getattr(link, 'filename', '')}:{getattr(link, 'path', '')}".lstrip(":")
        raise DatasetError(
            f"{name}: found a {type(link).__name__} to {target!r}, expected {expected}. Links can lead out of the file "
            "or in a circle, so they are not followed."
        )
    opened = h5o.open(group.id, encoded)
    found = {h5g.GroupID: "a group", h5d.DatasetID: "an array"}.get(type(opened), "a datatype")
    if found != expected:
        raise DatasetError(f"{name}: found {found}, expected {expected}.")
    return opened


def _find(group: h5py.Group, name: str) -> h5d.DatasetID | None:
    dataset = _open(group, name, "an array")
    if dataset is None:
        return None
    properties = dataset.get_create_plist()
    if properties.get_external_count():
        other = properties.get_external(0)[0].decode(errors="replace")
        raise DatasetError(
            f"{name}: its values are kept in another file, {other!r}, expected in this one. Any file of this machine "
            "could become part of the data in this way, so it is not read."
        )
    if properties.get_layout() == h5d.VIRTUAL:
        raise DatasetError(f"{name}: found a virtual array, put together from other files; expected its own values.")
    return dataset


def _check_size(name: str, dataset: h5d.DatasetID, shape: tuple[int, ...], itemsize: int) -> None:
    """Refuse an array whose declared size is larger than the stored bytes can hold."""
    properties, stored = dataset.get_create_plist(), dataset.get_storage_size()
    declared = math.prod(shape) * itemsize
    chunk = properties.get_chunk() if properties.get_layout() == h5d.CHUNKED else ()
    # A compressed chunk is unpacked as a whole.
    unpacked = max(declared, math.prod(chunk) * itemsize)
    limit = stored * LARGEST_RATIO if _is_compressed(name, properties) else stored
    # A forged file can claim to store more bytes than it has. Recent versions of HDF5 notice most such files.
    forged = stored > _SMALL and stored > h5i.get_file_id(dataset).get_filesize()
    if declared and (unpacked > limit or forged):
        raise DatasetError(
            f"{name}: declares the shape {shape}, {unpacked:,} bytes, but the file stores only {stored:,} "
            "bytes of it, which cannot hold that much. The file is incomplete or made to exhaust memory."
        )


def _is_compressed(name: str, properties: h5p.PropDCID) -> bool:
    filters = [properties.get_filter(index)[0] for index in range(properties.get_nfilters())]
    compressors = [code for code in filters if code in _COMPRESSORS]
    unknown = [code for code in filters if code not in _COMPRESSORS and code not in _HARMLESS]
    if unknown or len(compressors) > 1:
        raise DatasetError(
            f"{name}: found the HDF5 filters {filters}, expected at most one of {', '.join(_COMPRESSORS.values())}, "
            f"with or without {' and '.join(_HARMLESS.values())}. Write the file again with one of these."
        )
    return bool(compressors)


def _kind(datatype: h5t.TypeID) -> str:
    """Return NumPy's letter for a type. Most arrays are floats, and to find NumPy's type is slow."""
    return "f" if datatype.get_class() == h5t.FLOAT else str(datatype.dtype.kind)


def _describe(kinds: str) -> str:
    names = {"b": "booleans", "i": "integers", "u": "unsigned integers", "f": "floating-point numbers"}
    return " or ".join(names[kind] for kind in kinds)
