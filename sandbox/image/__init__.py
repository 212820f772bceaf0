"""The operator's image, built from the Dockerfile on a machine without a container engine.

    archive = image.ensure()
    sandbox.node.load_image(archive)  # Pods name it image.NAME and never pull it

buildah runs the Dockerfile. The registry of its base image, `python:3.13-slim`, may be unreachable,
so a substitute made of Debian packages replaces that image. `base` makes the substitute, `archive`
the image, and `builder` runs the programs that both need.
"""

from sandbox.image.archive import NAME, ensure
from sandbox.image.builder import unavailable

__all__ = ["NAME", "ensure", "unavailable"]
