"""Bindings of CloudEvents to brokers, in binary content mode: from and to a message's headers."""
