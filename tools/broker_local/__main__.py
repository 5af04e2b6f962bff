"""`make run`: the whole broker in the foreground until Ctrl-C or SIGTERM.

Standard output gets one line, when requests are served. What handlers log goes to a file, so that the terminal stays
readable.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import redirect_stdout
from types import FrameType

DEFAULT_PORT = 3000
LOG_FILE = ".local/broker.log"
USAGE_ERROR = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the local broker. Exit status: 0 after a signal, 2 when it cannot start."""
    stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    # Before the imports, which take most of the start: a Ctrl-C during them must not end in a traceback either.
    signal.signal(signal.SIGINT, on_signal)
    signal.signal(signal.SIGTERM, on_signal)
    port = _port(arguments)
    try:
        return _run(port, stop)
    except ModuleNotFoundError as error:
        return _fail(f"the Python package {error.name} is missing; run `make run`, which installs what is needed")


def _run(port: int, stop: threading.Event) -> int:
    from broker_local.server import PROJECT, LocalBroker, PortTakenError
    from broker_local.template import TemplateError

    path = PROJECT / LOG_FILE
    path.parent.mkdir(exist_ok=True)
    (path.parent / ".gitignore").write_text("*\n", "utf-8")
    terminal = sys.stdout
    with path.open("w", encoding="utf-8", buffering=1) as log, redirect_stdout(log):
        broker = LocalBroker(port, log=log)
        try:
            broker.start()
        except PortTakenError as error:
            return _fail(f"{error}; end it, or choose another with PORT=, for example: make run PORT={port + 10}")
        except TemplateError as error:
            return _fail(str(error))
        try:
            _say(f"playground  {broker.url}/")
            _say(f"AWS         {broker.aws_endpoint} (moto; in memory, gone at the end)")
            _say(f"log         {os.path.relpath(path)}")
            print(f"ready: {broker.url}", file=terminal, flush=True)
            stop.wait()
        finally:
            broker.stop()
    _say("stopped")
    return 0


def _port(arguments: Sequence[str] | None) -> int:
    parser = argparse.ArgumentParser(prog="broker_local", description="The whole broker on this machine.")
    parser.add_argument(
        "--port",
        type=_valid_port,
        default=os.environ.get("PORT") or str(DEFAULT_PORT),
        help=f"port of the broker; moto takes the next one (default: $PORT or {DEFAULT_PORT})",
    )
    return int(parser.parse_args(arguments).port)


def _valid_port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 65534):
        raise argparse.ArgumentTypeError(f"a port is a number from 1 to 65534, not {text!r}")
    return int(text)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _fail(sentence: str) -> int:
    _say(f"broker: {sentence}")
    return USAGE_ERROR


if __name__ == "__main__":
    sys.exit(main())
