"""What all benchmarks share: control planes, servers, load, turns with a floor, and reports."""
