"""NetworkPolicies: of a workload, of a broker, and the rules they are made of."""
