"""Read tables of logged steps.

Read `reader` first, which users call. `roles` says what the columns are, `files` reads them from `text_files` or
`parquet_files`, and `cells` converts them. `bad_cells` reports those that cannot be used. `joined` puts the rows of all
files in order, and finds gaps in time.
"""
