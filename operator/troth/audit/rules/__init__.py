"""Rules, one module each, by concern."""
