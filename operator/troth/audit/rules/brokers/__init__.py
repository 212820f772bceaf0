"""Rules about message brokers: who may do what there, and how clients connect."""
