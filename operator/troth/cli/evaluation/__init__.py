"""What is wrong with manifests: one evaluation and one report for `check` and `plan`."""
