"""Minari datasets, read without running anything that their files name.

`reader` is what users call; `metadata` decides what may be read, `hdf5` reads it.
"""
