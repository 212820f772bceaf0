"""`troth token`: inspect, verify and explain tokens."""
