"""Builds a Java program if the machine has a JDK and Maven, which no other build needs.

Maven fetches the program's one library from Maven Central. The library must match a SHA-256 digest,
as Go modules match `go.sum`. The program and the library become one jar.
"""

import hashlib
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from sandbox.building import build_once
from sandbox.cache import cache_directory
from sandbox.errors import BuildError
from sandbox.processes import Tether
from sandbox.running import run

MINIMUM = 17
TOOLS = ("java", "javac", "jar", "mvn")
FETCHER = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"


@dataclass(frozen=True, slots=True)
class Library:
    """A jar without dependencies on Maven Central, with its SHA-256 digest."""

    group: str
    name: str
    version: str
    digest: str


@dataclass(frozen=True, slots=True)
class JavaProgram:
    """A program of this repository that uses one library; `main` is its main class."""

    name: str
    sources: Path
    main: str
    library: Library

    def cached(self) -> Path:
        """Return the path of the jar, which may not exist yet."""
        key = hashlib.sha256(repr((self.main, self.library, FETCHER)).encode())
        for file in sorted(self.sources.glob("*.java")):
            key.update(f"{file.name}\0".encode())
            key.update(hashlib.sha256(file.read_bytes()).digest())
        folder = f"{self.name}-{self.library.version}-{key.hexdigest()[:12]}"
        return cache_directory() / "tools" / folder / f"{self.name}.jar"


def missing() -> str | None:
    """Return the reason why this machine cannot build Java, as a sentence; `None` if it can."""
    for program in TOOLS:
        if not shutil.which(program):
            return f"a Java program needs the program {program}, which is not on PATH"
    version = _version()
    if version < MINIMUM:
        return f"a Java program needs a JDK of {MINIMUM} or newer, and the one on PATH is {version}"
    return None


def build_java(program: JavaProgram) -> Path:
    """Return the program's jar from the cache; build it first if necessary.

    Raises `BuildError` if the build fails, or if the machine lacks a JDK or Maven.
    """
    title = f"{program.name} {program.library.version}"
    if reason := missing():
        raise BuildError(title, reason)
    return build_once(program.cached(), title, lambda tether: _packed(tether, program, title))


def _packed(tether: Tether, program: JavaProgram, title: str) -> Path:
    library, jar = program.library, tether.directory / "program.jar"
    classes = tether.directory / "classes"
    classes.mkdir()
    fetched = tether.directory / f"{library.name}-{library.version}.jar"
    coordinates = f"{library.group}:{library.name}:{library.version}"
    maven = ["mvn", "--batch-mode", "--quiet", FETCHER, f"-Dartifact={coordinates}"]
    # A separate Maven repository, so that the downloads do not stay in the home directory.
    maven += [f"-Dmaven.repo.local={tether.directory / 'repository'}"]
    maven += [f"-DoutputDirectory={tether.directory}"]
    run(tether, maven, doing="fetching", what=coordinates, cwd=tether.directory)
    if (found := hashlib.sha256(fetched.read_bytes()).hexdigest()) != library.digest:
        raise BuildError(title, f"{coordinates} has the SHA-256 {found}, not {library.digest}")
    sources = sorted(program.sources.glob("*.java"))
    steps: tuple[list[str | Path], ...] = (
        ["jar", "--extract", "--file", fetched],
        ["javac", "-Xlint:all", "-Werror", "-cp", fetched, "-d", classes, *sources],
        ["jar", "--create", "--file", jar, "--main-class", program.main, "-C", classes, "."],
    )
    for argv in steps:
        run(tether, argv, doing="building", what=title, cwd=classes)
    return jar


def _version() -> int:
    said = subprocess.run(["javac", "-version"], capture_output=True, text=True, check=False)
    found = re.search(r"\bjavac (\d+)", said.stdout + said.stderr)
    return int(found[1]) if found else 0
