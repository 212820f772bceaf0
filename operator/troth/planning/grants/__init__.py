"""Plan of a `TopicPolicy`, and the grants that the plans of brokers and identities share."""
