"""Leader election with a Lease, of one replica or of several that share its shards."""
