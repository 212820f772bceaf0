"""Rules about webhooks."""
