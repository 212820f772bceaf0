"""Message brokers, one module each behind one small protocol (`troth.brokers.protocol`).

An adapter carries out and policy is made elsewhere: who may do what is planned, and what that is in
a broker's own words is a pure table (`troth.brokers.kafka.rules`, `troth.brokers.nats.rules`).
"""
