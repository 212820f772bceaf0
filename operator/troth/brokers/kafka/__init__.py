"""Kafka with the StandardAuthorizer."""
