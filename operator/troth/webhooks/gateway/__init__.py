"""The gateway: takes webhooks from outside, and hands on what is verified, fresh, and new.

It knows nothing of the cluster but what the operator has compiled for it. In the order in which a
delivery goes through them: `routes`, `source`, `limits`, `reading`, the schemes, `replay`,
`delivering`; `app` is that order, and `decisions` tells of each delivery.
"""
