"""Save the state of any interrupted run, so that it can resume.

A run claims a folder, appends rows to a log and replaces one state file (`files`). The state holds the `agent_state`,
the `generators` and values of the run itself. `interruption` tells the run when to stop. Read `files` first.
`mopo_agents.collection.checkpoint` is a complete example.
"""
