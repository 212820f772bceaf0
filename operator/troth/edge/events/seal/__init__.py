"""The seal of an event: its envelope, the signature, and the certificates that vouch for it."""
