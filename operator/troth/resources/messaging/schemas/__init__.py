"""Schemas of messages: JSON Schema, Avro and Protobuf, read within bounds and compared.

`reading.read_schema` returns the canonical form of a schema, or its fault. `compatibility` says
which changes of a schema reject messages that were valid before.
"""
