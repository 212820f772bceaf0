"""`troth agent`: the observer of a node's connections."""
