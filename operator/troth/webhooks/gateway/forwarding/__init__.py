"""A verified delivery on its way to its target."""
