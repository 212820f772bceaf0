"""`troth rotate`: request a new credential, and follow its rotation."""
