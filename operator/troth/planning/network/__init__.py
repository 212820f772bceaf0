"""NetworkPolicies of workloads and brokers, and the rules that they consist of."""
