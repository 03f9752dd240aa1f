"""Readers of datasets: our own files, the bundled data, Minari, D4RL's files and tables.

Read `locate` first: it finds a dataset by name, in the `folders` and `files` of our own format. `d4rl`, `tables` and
`minari` read other formats; `rows` and `hdf5` are their shared parts. `relabel` changes rewards, `card` describes data.
"""
