"""Kafka's jars, fetched once from Maven Central by Maven."""

import hashlib
from pathlib import Path

from sandbox.building import build_once
from sandbox.cache import cache_directory
from sandbox.errors import BuildError
from sandbox.java import missing
from sandbox.processes import Tether
from sandbox.running import run

PROJECT = Path(__file__).parent.parent / "tools" / "kafka"
POM = PROJECT / "pom.xml"
SUMS = PROJECT / "jars.sha256"
FETCHER = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"


def cached() -> Path:
    """Return the directory of the jars, which may not exist yet."""
    key = hashlib.sha256(FETCHER.encode())
    for file in (POM, SUMS):
        key.update(file.read_bytes())
    return cache_directory() / "tools" / f"kafka-{key.hexdigest()[:12]}" / "jars"


def ensure_kafka() -> Path:
    """Return the directory of Kafka's jars; fetch them first if necessary.

    Raises `BuildError` if the fetch fails, if a jar's digest differs from `jars.sha256`, or if the
    machine lacks Java or Maven.
    """
    jars = cached()
    if not jars.exists() and (reason := missing()):
        raise BuildError("Kafka", reason)
    return build_once(jars, "Kafka", _fetched)


def _fetched(tether: Tether) -> Path:
    jars = tether.directory / "jars"
    maven = ["mvn", "--batch-mode", "--quiet", f"--file={POM}", FETCHER, "-DincludeScope=runtime"]
    # A separate Maven repository, so that the downloads do not stay in the home directory.
    maven += [f"-Dmaven.repo.local={tether.directory / 'repository'}"]
    maven += [f"-DoutputDirectory={jars}"]
    run(tether, maven, doing="fetching", what="Kafka", cwd=tether.directory)
    found = {jar.name: hashlib.sha256(jar.read_bytes()).hexdigest() for jar in jars.iterdir()}
    wanted = {name: digest for digest, name in map(str.split, SUMS.read_text().splitlines())}
    if wrong := sorted(name for name, _ in found.items() ^ wanted.items()):
        raise BuildError("Kafka", f"not the jars that {SUMS.name} lists: {', '.join(wrong)}")
    return jars
