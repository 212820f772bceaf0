"""Amazon SNS, and the URLs of the certificates that sign its messages."""
