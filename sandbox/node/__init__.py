"""A node for the sandbox: it runs Pods and enforces NetworkPolicies.

    with Sandbox.start(tier=Tier.PROCESS_PODS) as sandbox:
        sandbox.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(
            workload_pod("shop", "orders", ports={"https": 8443}, identity="orders")))
        ...
        sandbox.node.caught_up()
        outcomes = sandbox.node.probe({"shop/orders": [Target("10.78.0.2:8443", port="https")]})

The node runs in namespaces that end with it: mounts, processes, and a network without a link or
route to the machine's. `gateway` has the connections into and out of that network. `channel`
connects to a pod's workload regardless of NetworkPolicies. `supervisor` is the program inside.
"""
