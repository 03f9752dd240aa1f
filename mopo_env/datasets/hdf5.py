"""Arrays in HDF5 files of strangers: looked at before anything is allocated, and read only from that very file."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path

import h5py

from mopo_env.errors import DatasetError

__all__ = ["open_hdf5", "plain_array", "plain_strings"]

# DEFLATE encodes at most 258 bytes in two bits: what claims to unpack to more was not packed by it. LZF does less.
_LARGEST_RATIO = 1032
_COMPRESSORS = {h5py.h5z.FILTER_DEFLATE: "gzip", h5py.h5z.FILTER_LZF: "lzf"}
_HARMLESS = {h5py.h5z.FILTER_SHUFFLE: "shuffle", h5py.h5z.FILTER_FLETCHER32: "fletcher32"}
_LONGEST_STRING = 10_000


@contextmanager
def open_hdf5(path: Path | str) -> Iterator[h5py.File]:
    """Open a file for reading, and turn whatever goes wrong with it into one kind of error that names it.

    Raises:
        DatasetError: If there is no such file, or it is damaged; also for every error within the block.
    """
    path = Path(path)
    try:
        if not path.is_file():
            raise DatasetError("no such file.")
        with h5py.File(path, "r") as file:
            yield file
    except DatasetError as error:
        raise DatasetError(f"{path}: {error}") from error
    except Exception as error:  # h5py raises almost anything on damaged files, MemoryError included
        raise DatasetError(
            f"{path}: cannot be read as HDF5: {type(error).__name__}: {error}. The file is damaged, incomplete or of "
            "another kind; fetch it again."
        ) from error


def plain_array(file: h5py.File, name: str, *, kinds: str) -> h5py.Dataset | None:
    """Find an array without reading it, and refuse whatever is more than an array stored in this file.

    Args:
        file: Where to look, at the top.
        name: Of the array.
        kinds: NumPy's letters for the types that are expected, such as ``"f"``.

    Returns:
        The array, of which at most `_LARGEST_RATIO` times the file's size has to be allocated; None if there is none.

    Raises:
        DatasetError: If it is a link, a group, of another type, kept elsewhere, or larger than the file can hold.
    """
    dataset = _find(file, name)
    if dataset is None:
        return None
    if dataset.shape is None or dataset.dtype.kind not in kinds:
        found = "no data" if dataset.shape is None else f"the type {dataset.dtype}"
        raise DatasetError(f"{name}: found {found}, expected {_describe(kinds)}.")
    _check_size(file, name, dataset)
    return dataset


def plain_strings(file: h5py.File, group_name: str) -> dict[str, str]:
    """Read the strings directly in a group, at most a hundred entries; everything else in it is ignored."""
    if not isinstance(file.get(group_name, getlink=True, default=None), h5py.HardLink):
        return {}
    group, strings = file[group_name], {}
    if not isinstance(group, h5py.Group):
        return {}
    for name in islice(group, 100):
        with suppress(DatasetError):
            dataset = _find(group, name)
            if dataset is None or dataset.shape != () or h5py.check_string_dtype(dataset.dtype) is None:
                continue
            _check_size(file, name, dataset)
            value = dataset[()]
            text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
            if len(text) <= _LONGEST_STRING:
                strings[name] = text
    return strings


def _find(group: h5py.Group, name: str) -> h5py.Dataset | None:
    link = group.get(name, getlink=True, default=None)
    if link is None:
        return None
    if not isinstance(link, h5py.HardLink):
        target = f"{getattr(link, 'filename', '')}:{getattr(link, 'path', '')}".lstrip(":")
        raise DatasetError(
            f"{name}: found a {type(link).__name__} to {target!r}, expected an array. Links can lead out of the file "
            "or in a circle, so they are not followed."
        )
    dataset = group[name]
    if not isinstance(dataset, h5py.Dataset):
        raise DatasetError(f"{name}: found a {type(dataset).__name__.lower()}, expected an array.")
    if dataset.external:
        raise DatasetError(
            f"{name}: its values are kept in another file, {dataset.external[0][0]!r}, expected in this one. Such a "
            "file could make any file of this machine part of the data, so it is not read."
        )
    if dataset.is_virtual:
        raise DatasetError(f"{name}: found a virtual array, put together from other files; expected its own values.")
    return dataset


def _check_size(file: h5py.File, name: str, dataset: h5py.Dataset) -> None:
    """Compare what an array declares with what the file holds of it."""
    itemsize, stored = dataset.id.get_type().get_size(), dataset.id.get_storage_size()
    declared = math.prod(dataset.shape) * itemsize
    # To read anything of a packed chunk, the whole of it is unpacked.
    unpacked = max(declared, math.prod(dataset.chunks or ()) * itemsize)
    limit = stored * _LARGEST_RATIO if _is_compressed(name, dataset) else stored
    # A forged file can claim to store more than it has; recent versions of HDF5 notice most of that themselves.
    if declared and (unpacked > limit or stored > file.id.get_filesize()):
        raise DatasetError(
            f"{name}: declares the shape {dataset.shape}, {unpacked:,} bytes, but the file stores only {stored:,} "
            "bytes of it, which cannot hold that much. The file is incomplete or made to exhaust memory."
        )


def _is_compressed(name: str, dataset: h5py.Dataset) -> bool:
    properties = dataset.id.get_create_plist()
    filters = [properties.get_filter(index)[0] for index in range(properties.get_nfilters())]
    compressors = [code for code in filters if code in _COMPRESSORS]
    unknown = [code for code in filters if code not in _COMPRESSORS and code not in _HARMLESS]
    if unknown or len(compressors) > 1:
        raise DatasetError(
            f"{name}: found the HDF5 filters {filters}, expected at most one of {', '.join(_COMPRESSORS.values())}, "
            f"with or without {' and '.join(_HARMLESS.values())}. Write the file again with one of these."
        )
    return bool(compressors)


def _describe(kinds: str) -> str:
    names = {"b": "booleans", "i": "integers", "u": "unsigned integers", "f": "floating-point numbers"}
    return " or ".join(names[kind] for kind in kinds)
