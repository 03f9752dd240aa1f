"""Where transitions come from: our own files, the bundled data, Minari, D4RL's files and tables.

Read `locate` first: it finds the dataset that a name stands for, in the `folders` and `files` of our own format.
`d4rl`, `tables` and `minari` read other formats with the help of `rows` and `hdf5`. `relabel` changes rewards, and
`card` shows what a dataset holds. This module imports nothing.
"""
