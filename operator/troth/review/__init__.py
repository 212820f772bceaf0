"""The worker that carries out reviews of dead letters, `troth review`."""
