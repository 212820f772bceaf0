"""What NetworkPolicies allow: between which pods and addresses, and on which ports."""
