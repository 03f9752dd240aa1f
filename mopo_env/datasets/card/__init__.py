"""The dataset card: statistics of a dataset, and likely mistakes in it.

Read `problems` first: each function finds one kind of mistake. `card` joins them with the returns, the lengths and the
range of every column. `text` shows the result.
"""
