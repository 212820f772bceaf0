"""`troth prove`: runs probes as pods, and writes what they prove into statuses."""
