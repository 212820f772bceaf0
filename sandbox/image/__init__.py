"""The operator's image, built from the Dockerfile on a machine without a container engine.

    archive = image.ensure()
    sandbox.node.load_image(archive)  # Pods name it image.NAME and pull it never

buildah runs the Dockerfile. Its base, `python:3.13-slim`, is in a registry that a machine may not
reach, so a stand-in made of Debian's packages replaces it. `base` makes the stand-in, `archive`
the image, and `builder` runs the programs that both need.
"""

from sandbox.image.archive import NAME, ensure
from sandbox.image.builder import unavailable

__all__ = ["NAME", "ensure", "unavailable"]
