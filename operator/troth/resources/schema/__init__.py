"""Base model, rules, scalars, and the CustomResourceDefinitions made from pydantic models."""
