"""Unfinished work on disk, so that it goes on bit for bit after an interruption.

`ownership` claims a folder, `append_log` and `checkpoint` write; `agent_state`, `environment_state` and `generators`
say what there is to save; `interruption` turns signals into a question.
"""
