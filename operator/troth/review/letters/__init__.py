"""Dead letters as the worker knows them, and what is decided about them. Pure."""
