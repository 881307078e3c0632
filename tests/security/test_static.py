"""What our own code never does. Contract: security.md §17, SEC-49."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2] / "goclaw"
FILES = sorted(ROOT.rglob("*.py"))
SHELLS = {"tools/runtime/exec.py"}  # which run what a model wrote, behind the deny engine
STATEMENTS = ("stores/",)  # the only place for them
SECRETS = ("token", "secret", "password", "signature", "hmac", "digest")
FORETOLD = {f"random.{name}" for name in ("choice", "choices", "randbytes", "getrandbits", "randint", "randrange")}
OURS = {  # parameters that only their own file fills, with conditions and columns it writes itself
    "stores/budgets.py": {"where"},
    "stores/context_files.py": {"columns"},
}
PUBLIC = {  # compared with == and no secret: nobody learns anything from how long it takes
    "digest",
    "request_hash",
}


def calls(tree: ast.AST) -> Iterator[tuple[ast.Call, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield node, ast.unparse(node.func)


def wrong(path: str, tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            if {"pickle", "marshal", "shelve", "dill"} & {name.split(".")[0] for name in names}:
                yield f"{node.lineno}: an import that unpacks code"
        if isinstance(node, ast.Compare) and any(isinstance(op, ast.Eq | ast.NotEq) for op in node.ops):
            for side in (node.left, *node.comparators):
                name = ast.unparse(side).rpartition(".")[2].lower()
                named = isinstance(side, ast.Name | ast.Attribute) and name in SECRETS and name not in PUBLIC
                if named and not any(isinstance(other, ast.Constant) for other in (node.left, *node.comparators)):
                    yield f"{node.lineno}: == on {name}"
    for call, name in calls(tree):
        given = {word.arg: ast.unparse(word.value) for word in call.keywords}
        if given.get("shell") == "True" and path not in SHELLS:
            yield f"{call.lineno}: shell=True"
        if name in ("eval", "exec", "compile", "os.system", "os.popen"):
            yield f"{call.lineno}: {name}"
        if name in ("yaml.load", "yaml.load_all", "yaml.unsafe_load", "yaml.full_load", "yaml.Loader"):
            yield f"{call.lineno}: {name}"
        if given.get("verify") == "False" or "CERT_NONE" in given.values() or name == "ssl._create_unverified_context":
            yield f"{call.lineno}: TLS without a check"
        if name in FORETOLD:
            yield f"{call.lineno}: {name}, which can be foretold"
        if name.endswith(".execute") and call.args and not path.startswith(STATEMENTS):
            yield f"{call.lineno}: SQL outside of the stores"
    for function in ast.walk(tree):
        if isinstance(function, ast.AsyncFunctionDef | ast.FunctionDef):
            texts = _texts(function) - OURS.get(path, set())
            for call, name in calls(function):
                if name.endswith(".execute") and call.args and texts & _filled_in(call.args[0]):
                    yield f"{call.lineno}: SQL made of what a caller gave"


def _texts(function: ast.AsyncFunctionDef | ast.FunctionDef) -> set[str]:
    """Parameters that hold a text of the caller's."""
    given = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    return {one.arg for one in given if one.annotation is not None and "str" in ast.unparse(one.annotation)}


def _filled_in(node: ast.expr) -> set[str]:
    """What a statement is made of where it is executed, besides its own text."""
    parts: list[ast.expr] = []
    match node:
        case ast.BinOp(left=left, right=right):
            parts = [left, right]
        case ast.Call(func=ast.Attribute(attr="format"), args=args, keywords=keywords):
            parts = [*args, *(word.value for word in keywords)]
        case ast.JoinedStr(values=values):
            parts = [part.value for part in values if isinstance(part, ast.FormattedValue)]
    return {name.id for part in parts for name in ast.walk(part) if isinstance(name, ast.Name)}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_file_does_what_none_may(file: Path) -> None:
    """SEC-49."""
    assert list(wrong(str(file.relative_to(ROOT)), ast.parse(file.read_text()))) == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from pickle import loads",
        "subprocess.run(x, shell=True)",
        "eval(x)",
        "exec(x)",
        "os.system(x)",
        "yaml.load(x)",
        "httpx.get(x, verify=False)",
        "db.execute('SELECT ' + x)",
        "random.choice(x)",
        "if token == given: pass",
        "if self.secret != given: pass",
    ],
)
def test_each_of_them_would_be_found(line: str) -> None:
    assert list(wrong("edge/x.py", ast.parse(line)))


def test_sql_made_of_values_would_be_found() -> None:
    for line in ("f'SELECT {x}'", "'SELECT %s' % x", "'{}'.format(x)", "f'{x.lower()}'"):
        assert list(wrong("stores/x.py", ast.parse(f"def f(db, x: str):\n    db.execute({line})")))
    fine = "def f(db, x: str):\n    db.execute(f'SELECT {COLUMNS}', {'id': x})"
    assert not list(wrong("stores/x.py", ast.parse(fine)))
