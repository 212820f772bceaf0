"""Message brokers: one folder each, with a pure dialect and a driver, behind `registry`.

A driver carries out and policy is made elsewhere: planning decides who may do what, and the dialect
says what that is in the broker's own words.
"""
