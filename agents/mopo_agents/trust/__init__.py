"""Judge a policy from data and model alone: no step of the real system is taken here."""
