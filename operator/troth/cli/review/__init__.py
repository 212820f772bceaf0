"""`troth review`: the worker that carries out reviews of dead letters."""
