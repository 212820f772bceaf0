"""The documentation site: pages generated from the models, and MkDocs' extensions.

`python -m website --write` writes the generated files into docs/reference; `make docs` builds the
site into `site/`.
"""
