"""What is known, in memory: the declared resources and the public facts of what Troth wrote."""
