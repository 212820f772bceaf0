"""A node for the sandbox: Pods that run, and NetworkPolicies that filter their packets.

    with Sandbox.start(tier=Tier.PROCESS_PODS) as sandbox:
        sandbox.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(
            workload_pod("shop", "orders", ports={"https": 8443}, identity="orders")))
        ...
        sandbox.node.caught_up()
        outcomes = sandbox.node.probe({"shop/orders": [Target("10.78.0.2:8443", port="https")]})

Everything is in namespaces that end with it: a network that no link or route joins to the
machine's, mounts and processes. What goes through the wall is in `gateway`; how to talk to a pod
whatever its NetworkPolicies say is in `channel`; `supervisor` is the program on the inside.
"""
