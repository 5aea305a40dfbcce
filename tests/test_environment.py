"""The environment variables, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

# Without this process's own settings; the rest, a coverage tool's say, stays.
BARE = {key: value for key, value in os.environ.items() if not key.startswith("FAILPY")}

PROGRAM = """if True:
    from failpy import fail, failpoint

    @failpoint("greet", returns=str)
    def greet():
        return "body"
"""


def run(program: str, *flags: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *flags, "-c", PROGRAM + program.replace("\n", "\n    ")],
        env={**BARE, **environ},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_terms_are_applied_at_declaration() -> None:
    ended = run("\nprint(greet(), greet())", FAILPY_FAILPOINTS='greet=1*return("a=b;c");other=off')
    assert ended.stdout == "a=b;c body\n", ended.stderr


def test_a_name_that_no_code_declares_is_reported_at_the_end() -> None:
    ended = run("\nprint(greet())", FAILPY_FAILPOINTS="gret=panic")
    assert ended.stdout == "body\n"
    assert "FAILPY_FAILPOINTS" in ended.stderr
    assert "did you mean 'greet'" in ended.stderr


def test_a_name_that_is_declared_is_not_reported() -> None:
    ended = run("\nfail.disable('greet')", FAILPY_FAILPOINTS="greet=panic;gone=off")
    assert "'greet'" not in ended.stderr.replace("did you mean 'greet'", "")
    assert "'gone'" in ended.stderr


def test_malformed_terms_stop_the_import() -> None:
    for text in ("greet=5*", "greet", "greet=return(hello)", "a b=off"):
        ended = run("", FAILPY_FAILPOINTS=text)
        assert ended.returncode == 1
        assert "FAILPY_FAILPOINTS cannot be applied" in ended.stderr
        assert "^" in ended.stderr


def test_terms_of_a_wrong_type_stop_the_declaration() -> None:
    ended = run("", FAILPY_FAILPOINTS="greet=return(5)")
    assert ended.returncode == 1
    assert "ReturnTypeError: failpoint 'greet' declares returns=str" in ended.stderr


def test_seed() -> None:
    program = """
point = fail.point("p")
fail.enable("p", "50%return")
print([bool(point.hit()) for _ in range(30)])
with fail.scope({"p": "50%return"}) as scope:
    print(scope.seed, [bool(point.hit()) for _ in range(30)])
with fail.scope({"p": "50%return"}, seed=9) as scope:
    print(scope.seed, bool(point.hit()))
"""
    first, second = run(program, FAILPY_SEED="7"), run(program, FAILPY_SEED="7")
    assert first.stdout == second.stdout != run(program, FAILPY_SEED="8").stdout
    assert "\n7 [" in first.stdout
    assert "\n9 " in first.stdout


def test_a_malformed_seed_stops_the_import() -> None:
    ended = run("", FAILPY_SEED="x")
    assert ended.returncode == 1
    assert "FAILPY_SEED='x' is not a whole number" in ended.stderr


def test_off_compiles_failpoints_out() -> None:
    program = """
import contextlib
original = lambda: "body"
assert failpoint("f", returns=str)(original) is original
builtin = failpoint("g")(len)
assert builtin is len
with fail.point("block") as hit:
    assert not hit
for arm in (
    lambda: fail.enable("greet", "panic"),
    lambda: fail.enable_all("greet=panic"),
    lambda: fail.scope({"greet": "panic"}).__enter__(),
):
    try:
        arm()
    except fail.FailpointError as exc:
        assert "FAILPY=off" in str(exc)
    else:
        raise SystemExit("armed")
with fail.scope():
    print(greet())
"""
    ended = run(program, FAILPY="off")
    assert ended.stdout == "body\n", ended.stderr


def test_off_wins_over_terms_and_says_so() -> None:
    ended = run("\nprint(greet())", FAILPY="off", FAILPY_FAILPOINTS="greet=panic")
    assert ended.stdout == "body\n"
    assert "FAILPY_FAILPOINTS has no effect" in ended.stderr


def test_on_is_as_unset_and_anything_else_is_refused() -> None:
    assert run("\nprint(greet())", FAILPY="on", FAILPY_FAILPOINTS='greet=return("a")').stdout == "a\n"
    ended = run("", FAILPY="false")
    assert ended.returncode == 1
    assert "FAILPY='false' is neither 'on' nor 'off'" in ended.stderr


def test_a_malformed_address_stops_the_import() -> None:
    ended = run("", FAILPY_HTTP="1234")
    assert ended.returncode == 1
    assert "FAILPY_HTTP='1234' cannot be applied" in ended.stderr
    assert "such as 127.0.0.1:1234" in ended.stderr


def test_import_is_light() -> None:
    """Nothing that a program may not need: no event loop, no http, no wrapt."""
    heavy = {
        *("asyncio", "concurrent", "trio", "anyio", "socket", "ssl", "subprocess", "multiprocessing"),
        *("http", "socketserver", "urllib", "email", "html", "httpx", "starlette"),
        *("argparse", "typer", "click", "rich", "pytest", "hypothesis"),
        *("wrapt", "contextvars_extras", "logging", "dataclasses", "inspect", "ast", "traceback"),
        *("random", "difflib", "json", "pathlib", "tempfile", "decimal", "unittest"),
    }
    program = f"import sys; sys.path[:0] = {sys.path!r}; import failpy; print(sorted(sys.modules))"
    ended = subprocess.run([sys.executable, "-S", "-c", program], capture_output=True, text=True, timeout=60)
    loaded = set(eval(ended.stdout))
    assert loaded & heavy == set(), ended.stderr


def test_a_forked_child_does_not_report(tmp_path: Path) -> None:
    program = """
import os, sys
child = os.fork()
if child:
    os.waitpid(child, 0)
    fail.point("late")
else:
    sys.exit()
"""
    ended = run(program, FAILPY_FAILPOINTS="late=off")
    assert ended.stderr == ""


# --- exceptions of the program's own ---

ORDERS = """
from failpy import failpoint

class ChargeError(Exception):
    pass

@failpoint("charge")
def charge():
    pass

try:
    charge()
except ChargeError as error:
    print("handled", error)
"""


def run_orders(folder: Path, *arguments: str, terms: str) -> subprocess.CompletedProcess[str]:
    (folder / "orders.py").write_text(ORDERS)
    environ = {**BARE, "FAILPY_FAILPOINTS": f"charge={terms}", "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environ, capture_output=True, text=True, timeout=60
    )


def test_an_exception_of_the_module_that_is_being_imported(tmp_path: Path) -> None:
    """failpy is imported, and the variable read, before the class is there."""
    ended = run_orders(tmp_path, "-c", "import orders", terms='raise(orders.ChargeError("no"))')
    assert ended.stdout == "handled no\n", ended.stderr


def test_an_exception_of_the_script_itself(tmp_path: Path) -> None:
    """By either name, and the script does not run a second time."""
    for module in ("orders", "__main__"):
        ended = run_orders(tmp_path, "orders.py", terms=f'raise({module}.ChargeError("no"))')
        assert ended.stdout == "handled no\n", ended.stderr


def test_an_exception_of_a_package_that_comes_later(tmp_path: Path) -> None:
    package = tmp_path / "shop"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "errors.py").write_text("class Sold(Exception): pass")
    program = "import shop, failpy, orders"
    ended = run_orders(tmp_path, "-c", program, terms="raise(shop.errors.Sold)")
    assert ended.stderr.strip().splitlines()[-2].startswith("shop.errors.Sold"), ended.stderr


def test_an_exception_that_can_never_come_stops_the_import(tmp_path: Path) -> None:
    for terms in (
        "raise(no_such_module.Error)",
        "raise(errno.NoSuchError)",
        'call("no_such_module:function")',
    ):
        ended = run_orders(tmp_path, "-c", "import orders", terms=terms)
        assert ended.returncode == 1
        assert "FAILPY_FAILPOINTS cannot be applied" in ended.stderr
        assert ended.stdout == ""


def test_an_exception_that_did_not_come_is_an_error_at_the_hit(tmp_path: Path) -> None:
    ended = run_orders(tmp_path, "-c", "import orders", terms="raise(orders.ChargeEror)")
    assert "TermSyntaxError: orders has no 'ChargeEror'; did you mean 'ChargeError'" in ended.stderr


def test_points_of_the_operating_system_are_attached(tmp_path: Path) -> None:
    script = tmp_path / "saves.py"
    script.write_text("import failpy, pathlib\npathlib.Path('state').write_text('1')")
    for terms, said in (
        ("posix/io/write=raise(ENOSPC)", "OSError: [Errno 28] No space left on device"),
        ("posix/io/write=1*off->raise(EIO)", "FAILPY_FAILPOINTS armed in vain"),
        (
            "posix/io/wrte=raise(EIO)",
            "no code has declared a failpoint 'posix/io/wrte'; did you mean 'posix/io/write'",
        ),
        ("posix/io/fsync=return(3)", "FAILPY_FAILPOINTS cannot be applied: failpoint 'posix/io/fsync'"),
    ):
        ended = subprocess.run(
            [sys.executable, script],
            cwd=tmp_path,
            env={**BARE, "FAILPY_FAILPOINTS": terms},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert said in ended.stderr
