"""What the reasons of conditions mean: one table for statuses, documentation and `troth check`."""
