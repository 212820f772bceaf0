"""Steps of plans: one class for each kind of step, by concern."""
