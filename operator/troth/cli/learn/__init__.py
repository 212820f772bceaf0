"""`troth learn`: drafts of identities from what a cluster shows."""
