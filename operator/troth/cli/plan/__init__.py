"""`troth plan`: what manifests would change, without changing anything."""
