"""Gateway and issuer with several worker processes."""
