"""Contents of Secrets that steps write."""
