"""`troth probe`: what a probe pod of `troth prove` runs."""
