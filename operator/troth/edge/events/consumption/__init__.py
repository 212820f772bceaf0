"""What a consumer does with a message: a flow, its drivers, handlers, duplicates, dead letters."""
