"""Pictures of results, for docs/performance.md."""
