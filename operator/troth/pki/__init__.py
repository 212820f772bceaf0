"""Keys, certificates, bundles and keystores: everything cryptographic that Troth makes or reads.

Pure: no I/O, no clock and no logging. The moment is always passed in as an aware UTC `datetime`,
and a key is always made by the caller (`keys.generate_key`) and passed in. The only randomness
beside it is what the formats themselves ask for: serial numbers, signature nonces, and the salts
and passwords of keystores.

`spiffe` names identities, `keys` makes and reads private keys, `certificates` reads the public
facts of what was issued, `authorities` reads a signing authority, `issuing` makes roots and
leaves, `bundles` and `keystores` wrap them for those who verify and those who present. Every
refusal is an `errors.PKIError`.
"""
