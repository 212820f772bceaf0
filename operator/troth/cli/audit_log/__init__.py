"""`troth audit-log`: verify the log of reviews."""
