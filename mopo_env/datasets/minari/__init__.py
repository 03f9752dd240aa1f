"""Read and write Minari datasets. Reading never runs code that a file names.

Read `reader` first, which users call. `metadata` checks the description of a dataset, and `hdf5` reads its episodes.
"""
