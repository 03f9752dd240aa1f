"""The dataset card: what a dataset holds, and what looks wrong in it.

Read `problems` first: each function finds one thing that looks wrong. `card` gathers them with the returns, the lengths
and the range of every column; `text` and `plot` show the result.
"""
