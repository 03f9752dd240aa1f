"""What an interrupted run goes on from; nothing here knows which run it is.

A run claims a `folder` for its configuration. It writes rows that only grow into an `append_log`, and everything else
as one `state_file`: the `agent_state`, the `generators`, and what only this kind of run has. `interruption` tells it
when to stop. Read `state_file` first; `mopo_agents.collection.checkpoint` puts the pieces together.
"""
