"""The API server: informers, writes and leases."""
