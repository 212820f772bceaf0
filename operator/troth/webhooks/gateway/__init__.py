"""Webhook gateway: accepts deliveries that are verified, fresh and new, and forwards them.

It knows of the cluster only the configuration that the operator writes for it. `app` has the order
of the steps: `routes`, `connection`, `limits`, the schemes, `replay`, `forwarding`. `decisions`
logs and counts each delivery.
"""
