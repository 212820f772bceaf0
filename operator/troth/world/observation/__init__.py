"""From raw objects of the API server to facts."""
