"""`troth status`: the state of every resource."""
