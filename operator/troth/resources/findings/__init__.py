"""Models about findings: exceptions from rules."""
