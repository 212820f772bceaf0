"""Sealed events: messages that prove who published them, for whom, and what they contain.

A producer's `sealing.Sealer` signs an event with the key of its identity. A consumer's
`opening.Opener` accepts an event only if producer, topic, environment, time, context and schema are
those of the policy; otherwise it returns a `rejection.Rejection`. Both are pure: they read the
mounted identity and the clock that they are given, and know no broker. `bindings` translates
between messages of a broker and events. `consumption` decides what becomes of a message, and
`adapters` connect all of this with client libraries. docs/events.md specifies the form of an event.
"""
