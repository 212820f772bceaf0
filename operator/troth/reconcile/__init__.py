"""The reconcile loop: takes keys from the world, plans from planning, and writes to the cluster."""
