"""`troth plan`: preview what manifests would change."""
