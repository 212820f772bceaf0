"""Message brokers: one folder for each type, with a pure dialect and a driver, behind `registry`.

Planning decides which principal may do what, and the dialect translates that into the broker's own
rules. A driver contains no policy: it observes a broker and carries out changes.
"""
