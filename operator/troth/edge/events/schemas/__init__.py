"""Validators of events' data: JSON Schema, Avro and Protobuf.

`compiled.compile` returns the validator of a schema. A service installs what they import with
`troth[events]`, and each format's library is imported when a schema of the format is first used.
"""
