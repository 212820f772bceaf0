"""What a user writes: one pydantic module per kind, from which `crds/` is generated."""
