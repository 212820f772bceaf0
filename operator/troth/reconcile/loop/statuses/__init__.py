"""Which statuses and Events a reconcile writes, and when."""
