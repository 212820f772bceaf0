"""From pydantic models to CustomResourceDefinitions: base model, rules, scalars."""
