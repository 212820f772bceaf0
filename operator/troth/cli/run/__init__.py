"""`troth run`: the operator."""
