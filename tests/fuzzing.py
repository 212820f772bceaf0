"""Fuzzing with atheris, and mutated inputs for hypothesis. A target takes any bytes."""

import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from hypothesis import strategies as st

Target = Callable[[bytes], None]
ALL = "all"

_PIECES = st.one_of(
    st.binary(max_size=12),
    st.sampled_from(
        [
            *(b"\r\n", b"\n\n", b"\0", b"\xff", b'"', b"'", b"\\", b"%", b"%zz", b"=", b"&", b"?"),
            *(b"(", b")", b":", b";", b",", b"@", b"{", b"[" * 2000, b'{"a":' * 300, b"9" * 5000),
            *(b"\\ud800", b"1e999", b"NaN", b"-0", b"?1", b"@1", b'%"a"', b"\xf0\x9f\x92\xa9"),
        ]
    ),
)


@st.composite
def bent(draw: st.DrawFn, good: bytes) -> bytes:
    """Good bytes with some of them cut out, repeated or written over."""
    text = good
    for _ in range(draw(st.integers(1, 4))):
        # half of the time near the end, where bodies are
        start = draw(st.integers(draw(st.sampled_from((0, max(0, len(text) - 30)))), len(text)))
        end = min(len(text), start + draw(st.integers(0, 20)))
        text = text[:start] + draw(_PIECES) + text[draw(st.sampled_from((start, end))) :]
    return text


def fuzz(
    targets: Mapping[str, Target],
    seeds: Callable[[str], Sequence[bytes]],
    words: Iterable[bytes] = (),
) -> None:
    """Run atheris as the command line says: `TARGET [CORPUS …] [-runs=N …]`.

    TARGET is the name of a target, or `all`, where the first byte of an input chooses. The fuzzer
    starts with the seeds and the corpora, and inserts words. The options are those of libFuzzer.
    """
    import atheris  # not on every platform

    target, *options = sys.argv[1:] or [""]
    if target not in (*targets, ALL):
        sys.exit(f"choose one of {', '.join((*targets, ALL))}")

    def chosen(data: bytes) -> None:
        names = list(targets)
        targets[names[(data[0] if data else 0) % len(names)]](data[1:])

    with tempfile.TemporaryDirectory() as folder:
        first = Path(folder) / "seeds"
        first.mkdir()
        for place, name in enumerate(targets):
            choice = bytes((place,)) if target == ALL else b""
            for number, good in enumerate(seeds(name) if target in (name, ALL) else ()):
                (first / f"{name}-{number}").write_bytes(choice + good)
        lines = [f'"{_escaped(each)}"' for each in words]
        dictionary = Path(folder) / "words"
        dictionary.write_text("\n".join(["# libFuzzer rejects an empty file", *lines, ""]))
        # Findings go to the first named corpus; without one, they are not kept.
        corpora = [each for each in options if not each.startswith("-")]
        flags = [f"-dict={dictionary}", *(each for each in options if each.startswith("-"))]
        atheris.Setup([sys.argv[0], *flags, *corpora, str(first)], targets.get(target, chosen))
        atheris.Fuzz()


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{each:02x}" for each in word)
