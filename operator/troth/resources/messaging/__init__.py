"""Specs and statuses of `MessageBroker` and `TopicPolicy`."""
