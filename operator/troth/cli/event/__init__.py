"""`troth event`: seal an event, open it, explain its verdict, and show the events of a topic."""
