"""`troth check`: whether manifests are correct."""
