"""Who can reach a workload from outside and inside the cluster, and what a gateway adds."""
