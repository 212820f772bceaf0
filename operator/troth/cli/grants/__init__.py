"""`troth grants`: which identities may publish to and consume from topics."""
