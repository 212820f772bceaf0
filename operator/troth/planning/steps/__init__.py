"""What a plan consists of: one class for each step, by concern."""
