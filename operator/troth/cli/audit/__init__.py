"""`troth audit`: anti-patterns in manifests and clusters, with evidence and a way out."""
