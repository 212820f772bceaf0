"""The worker's list API: dead letters for people, authorised by the API server."""
