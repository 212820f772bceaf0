"""Which roots a workload trusts, and whether a leaf is valid and due for renewal."""
