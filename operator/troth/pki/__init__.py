"""Keys, certificates, trust bundles, keystores and signed tokens.

The package is pure: it does no I/O, reads no clock and writes no log. The caller passes in the time
as an aware UTC `datetime`, and the key, made with `keys.private.generate_key`. The only randomness
is what the formats need: serial numbers, signature nonces, and the salts and passwords of
keystores.

Every error is an `errors.PKIError`.
"""
