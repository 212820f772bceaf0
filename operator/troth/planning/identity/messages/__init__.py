"""The member `messages` of `identity.json`, and the places of the schemas that it names."""
