"""The reconcile loop: watch, queue, plan, apply, status."""
