"""What issuer and gateway share as processes: server, TLS files, Secret watch, health, logs."""
