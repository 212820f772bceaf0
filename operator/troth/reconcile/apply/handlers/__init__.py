"""Handlers of the steps at the API server, by concern; see `STEP_HANDLERS`."""
