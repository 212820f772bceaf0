"""Looking at brokers and changing them, beside the reconcile loop."""
