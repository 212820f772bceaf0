"""Process setup that issuer and gateway share: health, logs, the serve loop."""
