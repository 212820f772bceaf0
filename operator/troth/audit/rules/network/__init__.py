"""Rules about what the network lets through besides what Troth opens."""
