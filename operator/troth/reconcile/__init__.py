"""The loop: keys from the world, plans from planning, writes to the cluster."""
