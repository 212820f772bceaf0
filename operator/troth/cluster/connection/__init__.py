"""The client of the API server: kubeconfig, requests and port-forwards."""
