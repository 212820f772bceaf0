"""Drafts of ServiceIdentities and their edges from what a cluster shows."""
