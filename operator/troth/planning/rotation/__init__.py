"""Rotation of credentials: the schedule, and the handover that all kinds of credentials share."""
