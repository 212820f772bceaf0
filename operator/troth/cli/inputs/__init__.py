"""What commands read: manifests, a cluster, and targets named on the command line."""
