"""The auditor: watches a cluster, evaluates the rules of `audit`, writes reports and statuses."""
