"""What an audit costs: CPU and memory for a large cluster."""
