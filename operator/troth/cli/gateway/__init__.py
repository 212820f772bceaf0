"""`troth gateway`: the gateway that verifies webhooks."""
