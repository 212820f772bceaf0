"""Process parts that issuer and gateway share: server, TLS files, Secret watch, health, logs."""
