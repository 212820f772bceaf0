"""What the issuer and the gateway share as processes: health, logs, the serve loop."""
