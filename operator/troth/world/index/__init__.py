"""Parts of the world, indexed so that every question is a lookup."""
