"""Minari datasets, read without running anything that their files name.

Read `reader` first, which users call. `metadata` checks what the dataset says of itself, and `hdf5` reads its episodes.
"""
