"""What leads requests from outside to workloads, and what it says of their callers."""
