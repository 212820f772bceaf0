"""Traffic: what observers of connections print, and whose connections they are."""
