"""Rules about identity headers, scopes and the gateways in front of services."""
