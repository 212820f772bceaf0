"""Descriptions of brokers, one module for each broker type."""
