"""Connections of a server: their number is bounded, and so is the time of each step.

`handshakes` covers a connection until TLS is established, and `timed` covers it from then on.
"""
