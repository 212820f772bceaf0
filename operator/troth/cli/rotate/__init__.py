"""`troth rotate`: request a credential rotation and follow it."""
