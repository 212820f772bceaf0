"""What the Secret of an identity holds: its certificate, and the document with its peers."""
