"""The graph of declared edges and grants, and whether they are live.

Everything here follows from the resources alone, without I/O and without a Kubernetes client.
`declarations` indexes what the resources declare, `edges` and `topics` evaluate it.
"""
