"""Each class of step has exactly one handler, which takes steps of that class."""

import importlib
import inspect
import pkgutil
from typing import Any, get_type_hints

import pytest

from troth.planning import steps
from troth.planning.steps.step import BackgroundStep, WriteStep
from troth.reconcile.apply.execute import STEP_HANDLERS
from troth.reconcile.brokers.work import BROKER_HANDLERS

TABLES: dict[type, dict[Any, Any]] = {WriteStep: STEP_HANDLERS, BackgroundStep: BROKER_HANDLERS}


def classes(base: type) -> set[type]:
    """Return the step classes of a base, from all modules of `steps`."""
    modules = [
        importlib.import_module(f"{steps.__name__}.{each.name}")
        for each in pkgutil.iter_modules(steps.__path__)
        if each.name != "step"
    ]
    return {
        each
        for module in modules
        for _, each in inspect.getmembers(module, inspect.isclass)
        if issubclass(each, base) and each.__module__ != steps.__name__ + ".step"
    }


@pytest.mark.parametrize("base", TABLES)
def test_every_step_has_one_handler(base: Any) -> None:
    found, table = classes(base), TABLES[base]
    assert len(found) >= 3
    assert found == set(table)
    assert len(set(table.values())) == len(table)


@pytest.mark.parametrize("base", TABLES)
def test_handler_takes_the_step_that_it_is_registered_for(base: Any) -> None:
    for step, handler in TABLES[base].items():
        hints = get_type_hints(handler)
        assert step in hints.values(), f"{handler.__qualname__} is registered for {step.__name__}"
