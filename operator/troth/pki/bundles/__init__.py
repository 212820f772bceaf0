"""Files of trust anchors and credentials: PEM and SPIFFE bundles, and PKCS#12 keystores."""
