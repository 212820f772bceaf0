"""What decides Ready after planning: rejected writes, debounce, and the delay of Stalled."""
