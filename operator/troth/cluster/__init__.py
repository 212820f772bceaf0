"""Access to the API server: client, decoder, informers and Lease."""
