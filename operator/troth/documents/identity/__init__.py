"""`identity.json`: how the operator writes it, and how services and the operator read it."""
