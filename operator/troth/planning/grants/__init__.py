"""The plan of a `TopicPolicy`, and the grants that brokers and identities share."""
