"""Save the state of any interrupted run, so that it can resume.

A run claims a `folder` for its configuration. It appends its rows to an `append_log` and replaces one `state_file` that
holds the rest: the `agent_state`, the `generators` and values of its own. `interruption` tells it when to stop. Read
`state_file` first. `mopo_agents.collection.checkpoint` is a complete example.
"""
