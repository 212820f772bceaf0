"""`MessageBroker` and `TopicPolicy`: their specs and statuses."""
