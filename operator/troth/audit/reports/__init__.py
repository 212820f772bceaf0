"""Reports of an evaluation, as data: Kubernetes reports, SARIF, and lines of text and Markdown."""
