"""The demo on a cluster that exists already: `make demo KUBECONFIG=path`."""
