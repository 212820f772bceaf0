"""Trust bundles of workloads, and the checks that decide when a leaf must be issued."""
