"""`troth auditor`: the auditor."""
