"""The guide to schemas has the numbers and reasons of the code, and its program runs."""

import contextlib
import io
import re

import pytest

from tests.guides.pages import page
from troth.cli.evaluation import schemas
from troth.edge.events.schemas.validator import DEEPEST, MOST_BYTES, MOST_VALUES
from troth.resources.messaging.schemas import avro, protobuf, schema_text
from troth.world.watch_class import SCHEMA as LABEL

GUIDE = page("schemas.md")


@pytest.mark.parametrize(
    "said",
    [
        f"has at most {schema_text.MOST_BYTES // 1024} KiB",
        f"nest at most {avro.DEEPEST} levels",
        f"{avro.MOST_NAMED} records, enums and fixed types",
        f"has at most {protobuf.MOST_FILES} files",
        f"more than {MOST_BYTES // 2**20} MiB is rejected",
        f"at most {MOST_VALUES:,} values and {DEEPEST} levels",
        f'label `{LABEL}: "true"`',
        f"| `{schemas.INCOMPATIBLE}` | warning |",
        f"| `{schemas.UNDECIDED}` | notice |",
        *(advice for advice in schemas.ADVICE.values() if "producers first" in advice),
    ],
)
def test_numbers_and_names_are_those_of_the_code(said: str) -> None:
    assert said in GUIDE


def test_program_of_the_guide_runs() -> None:
    (program,) = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(program, {})
    assert output.getvalue() == "{'id': 'o-7'}\n"
