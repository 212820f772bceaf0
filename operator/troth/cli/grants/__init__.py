"""`troth grants`: who may publish to a topic and who may consume from it."""
