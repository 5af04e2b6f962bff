"""Loads the functions' handlers and invokes them as the Lambda runtime does: JSON in, JSON out, a context beside it."""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from broker_local import privileges
from broker_local.template import ACCOUNT_ID, REGION, Function, TemplateError

Handler = Callable[[dict[str, Any], "LambdaContext"], object]


class LambdaContext:
    """What the Lambda runtime passes beside the event. Names are the runtime's own."""

    function_version = "$LATEST"
    identity = None
    client_context = None

    def __init__(self, function: Function) -> None:
        self.function_name = function.name
        self.memory_limit_in_mb = str(function.memory)
        self.invoked_function_arn = f"arn:aws:lambda:{REGION}:{ACCOUNT_ID}:function:{function.name}"
        self.log_group_name = f"/aws/lambda/{function.name}"
        self.log_stream_name = "local"
        self.aws_request_id = str(uuid4())
        self._deadline = time.monotonic() + function.timeout

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the function's timeout, never below 0."""
        return max(0, int((self._deadline - time.monotonic()) * 1000))


@dataclass(frozen=True, slots=True)
class LoadedFunction:
    """A function whose module has been imported. Each has a module of its own, though all are called app.py."""

    function: Function
    handler: Handler = field(repr=False)

    def invoke(self, event: dict[str, Any]) -> object:
        """Call the handler with a copy of the event, as it would arrive over the wire. Lets its exceptions through."""
        with privileges.running(self.function):
            return self.handler(json.loads(json.dumps(event)), LambdaContext(self.function))


def module_name(function: Function) -> str:
    """The unique name under which the function's module is in sys.modules."""
    return f"broker_local_functions.{function.folder}"


def load(function: Function, functions_folder: Path) -> LoadedFunction:
    """Import the function's module from its folder. Raises TemplateError when file or handler is missing."""
    folder = functions_folder / function.folder
    path = folder / f"{function.module}.py"
    if not path.is_file():
        raise TemplateError(f"{function.name} needs {path}, which does not exist")
    if any(child.is_dir() and (child / "__init__.py").is_file() for child in folder.iterdir()):
        import_from([folder])
    spec = importlib.util.spec_from_file_location(module_name(function), path)
    if spec is None or spec.loader is None:
        raise TemplateError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[spec.name]
        raise
    handler = getattr(module, function.entry, None)
    if not callable(handler):
        raise TemplateError(f"{path} has no function {function.entry}")
    return LoadedFunction(function, handler)


def unload(functions: Sequence[LoadedFunction]) -> None:
    """Forget the functions' modules, so that the next load starts cold."""
    for loaded in functions:
        sys.modules.pop(module_name(loaded.function), None)


def start_cold() -> None:
    """Empty every `functools.cache` of the broker and the sandbox, as a new Lambda instance starts without any.

    Without this a second local broker in one process would write to the tables of the first.
    """
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in {"broker", "sandbox_provider"}:
            for value in list(vars(module).values()):
                if callable(clear := getattr(value, "cache_clear", None)):
                    clear()


def import_from(folders: Sequence[Path]) -> None:
    """Let modules be imported from `folders`, as from Lambda's task root and layers."""
    sys.path[:0] = [str(folder) for folder in folders if str(folder) not in sys.path]
