"""Parts of the world, indexed so that every query is a lookup."""
