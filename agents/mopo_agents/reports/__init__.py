"""Reports of finished runs: a table for the terminal, and pages of HTML that need nothing beside themselves.

`iqm` has the statistics, `terminal` the table, `page` the skeleton of every page, `runs_page` the page that compares
runs. `mopo_agents.figures` draws.
"""
