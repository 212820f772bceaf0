"""The mounted files of an identity, and the certificate of a TLS peer."""
