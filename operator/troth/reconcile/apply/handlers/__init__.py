"""One handler for each step at the API server, by concern; see `STEP_HANDLERS`."""
