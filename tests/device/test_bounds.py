"""Nothing in camera/ waits without a limit: a rule on its source.

A call that can block is allowed only where ALLOWED says why it cannot block for long, and a
`while` only where each round takes a turn of camera.waiting or LOOPS says why it ends. An entry
that is not needed any more is an error too.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import camera

FOLDER = Path(camera.__file__).parent

# Methods and functions that can wait for something outside.
BLOCKING = frozenset(
    {
        *("accept", "connect", "getaddrinfo", "input", "ipoll", "poll", "read", "readinto"),
        *("readline", "readlines", "recv", "recvfrom", "recv_into", "select", "send", "sendall"),
        *("sendto", "settimeout", "sleep", "sleep_ms", "snapshot", "wait_msg", "wrap_socket"),
        *("write", "write_file", "acquire"),
    }
)

FILE = "a file on flash or card: the driver has time-outs of its own"
NUMERIC = "of a dotted address: nothing is looked up"
NON_BLOCKING = "the socket is non-blocking"
BOUNDED = "bounded in the called function, which is in this table"
ALLOWED = {
    ("main.py", "_read", "read"): FILE,
    ("main.py", "<module>", "sleep"): "one second, and the watchdog is fed before each",
    ("state.py", "recall", "read"): FILE,
    ("state.py", "keep", "write"): FILE,
    ("anchors.py", "_read", "read"): FILE,
    ("anchors.py", "digest", "read"): FILE,
    ("spool.py", "_write", "write"): FILE,
    ("spool.py", "_open_checked", "read"): FILE,
    ("spool.py", "_open_checked", "readinto"): FILE,
    ("link.py", "_bring_up", "connect"): "starts it; the firmware goes on by itself",
    ("sensor.py", "capture", "snapshot"): "the firmware gives up after 3 s, and after SETTLE_MS",
    ("clock.py", "_ask", "getaddrinfo"): NUMERIC,
    ("clock.py", "_ask", "sendto"): NON_BLOCKING,
    ("clock.py", "_receive", "recv"): NON_BLOCKING,
    ("clock.py", "_receive", "poll"): "limited by waiting.slice_ms",
    ("resolver.py", "_look_up", "getaddrinfo"): NUMERIC,
    ("resolver.py", "_look_up", "sendto"): NON_BLOCKING,
    ("resolver.py", "_look_up", "recv"): NON_BLOCKING,
    ("resolver.py", "_look_up", "ipoll"): "limited by waiting.slice_ms",
    ("transport.py", "__init__", "wrap_socket"): "do_handshake_on_connect=False: only memory",
    ("transport.py", "shake_hands", "write"): BOUNDED,
    ("transport.py", "write_file", "readinto"): FILE,
    ("transport.py", "_take", "readinto"): NON_BLOCKING,
    ("transport.py", "peek", "ipoll"): "limited by the caller, who gives slices",
    ("transport.py", "_send", "write"): "non-blocking; lwIP may take 10 s: see watchdog.py",
    ("transport.py", "_wait", "ipoll"): "limited by waiting.slice_ms",
    ("transport.py", "_connect", "getaddrinfo"): NUMERIC,
    ("transport.py", "_connect", "connect"): NON_BLOCKING,
    ("transport.py", "_await_connected", "ipoll"): "limited by waiting.slice_ms",
    ("session.py", "connect", "write"): BOUNDED,
    ("session.py", "send", "write"): BOUNDED,
    ("session.py", "send", "write_file"): BOUNDED,
    ("session.py", "subscribe", "write"): BOUNDED,
    ("session.py", "_write_number", "write"): BOUNDED,
    ("session.py", "_fixed_header", "write"): BOUNDED,
    ("session.py", "_await_suback", "read"): BOUNDED,
    ("session.py", "_take_puback", "read"): BOUNDED,
    ("session.py", "_recv_len", "read"): BOUNDED,
    ("dialer.py", "_log_in", "connect"): BOUNDED,
    ("route.py", "step", "connect"): BOUNDED,
    ("route.py", "_send_next", "send"): BOUNDED,
    ("route.py", "_send_stored", "send"): BOUNDED,
    ("session.py", "publish", "send"): BOUNDED,
    ("waiting.py", "sleep", "sleep_ms"): "limited by slice_ms",
    ("link.py", "reset", "sleep"): BOUNDED,
    ("link.py", "_bring_up", "sleep"): BOUNDED,
    ("app.py", "_wait", "sleep"): BOUNDED,
}
LOOPS = {
    ("commands.py", "run"): "one round for each of WAITING_MAX requests",
    ("dns.py", "_after_name"): "each round goes forward in 512 bytes",
    ("flight.py", "_buffer"): "each round gives one of its buffers back",
    ("index.py", "_to_first"): "each round goes forward in the ring",
    ("route.py", "_store_copies"): "each round stores one of the window's copies",
    ("session.py", "_fixed_header"): "one round for each 7 bits",
    ("session.py", "await_puback"): "each round takes turns, and ends at limits_s.puback",
    ("spool.py", "next"): "each round drops a file",
    ("spool.py", "_make_room"): "each round drops a file, or ends it",
    ("spool.py", "_open_checked"): "each round reads more of a file",
    ("transport.py", "write_file"): "each round sends a record, within a limit",
    ("transport.py", "read"): "each round reads more, or waits within the limit",
}
TURNS = frozenset({"turn", "sleep"})


def functions(tree: ast.Module) -> Iterator[tuple[str, ast.AST]]:
    """Each function with its name, and the module's own statements."""
    inside = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            inside.update(id(each) for each in ast.walk(node))
            yield node.name, node
    outside = ast.Module([each for each in tree.body if id(each) not in inside], [])
    yield "<module>", outside


def called(node: ast.AST) -> Iterator[str]:
    """The names of what is called in a node."""
    for each in ast.walk(node):
        if isinstance(each, ast.Call):
            function = each.func
            if ast.unparse(function) == "select.poll":  # makes one
                continue
            if isinstance(function, ast.Attribute | ast.Name):
                yield function.attr if isinstance(function, ast.Attribute) else function.id


def found() -> tuple[set[tuple[str, str, str]], set[tuple[str, str]]]:
    """The calls that can block, and the loops that take no turn."""
    calls, loops = set(), set()
    for path in sorted(FOLDER.glob("*.py")):
        for name, node in functions(ast.parse(path.read_text())):
            if name == "<module>":
                node = ast.Module([e for e in node.body if not isinstance(e, ast.ClassDef)], [])  # type: ignore[attr-defined]
            calls |= {(path.name, name, each) for each in called(node) if each in BLOCKING}
            for loop in ast.walk(node):
                if isinstance(loop, ast.While) and not TURNS & set(called(loop)):
                    loops.add((path.name, name))
    return calls, loops


def test_every_call_that_can_block_has_a_limit() -> None:
    calls, _ = found()
    assert calls - set(ALLOWED) == set(), "bound it, or say in ALLOWED why it cannot block"
    assert set(ALLOWED) - calls == set(), "not needed any more"


def test_every_loop_takes_turns_or_ends() -> None:
    _, loops = found()
    assert loops - set(LOOPS) == set(), "take a turn in it, or say in LOOPS why it ends"
    assert set(LOOPS) - loops == set(), "not needed any more"


def test_the_rule_finds_what_it_is_there_for() -> None:
    tree = ast.parse("def f(sock):\n    while True:\n        sock.recv(1)\n")
    ((_, node), _) = functions(tree)
    assert list(called(node)) == ["recv"]
