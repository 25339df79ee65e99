"""The rules of the tree: which room (a folder, or a module beside the folders) may import which, and what never holds.

A checker takes the folder of a package and returns one line for every violation: none where all is well.
"""

import ast
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ALLOWED = {
    "errors": set(),
    "given": {"errors"},
    "notice": set(),
    "_version": set(),
    "regular": set(),
    "blocks": set(),
    "tails": set(),
    "kernel_choice": {"notice"},
    "curve": {"tails", "kernel_choice"},
    "pieces": {"kernel_choice"},
    "card": set(),
    "distribution_card": {"card", "distribution"},
    "distribution": {"blocks", "tails", "curve", "distribution_card"},
    "runs": {"errors", "regular", "kernel_choice", "blocks", "tails", "distribution", "card"},
    "model": {"errors", "given", "notice", "runs"},
    "sketch": {"kernel_choice", "blocks", "tails", "distribution", "runs"},
    "inputs": {"errors", "regular", "saved"},  # arrays lie in files of the same formats as weights
    "saved": {"errors", "regular", "model"},
    "gradients": {"errors", "model", "card"},
    "hooks": {"errors", "notice", "kernel_choice", "_version", "distribution", "runs", "model", "sketch"},
    "record": {"errors", "given", "notice", "distribution", "runs", "model", "hooks", "gradients"},
    "replay": {"errors", "distribution", "runs", "model", "sketch", "hooks", "inputs", "saved", "gradients"},
    "launch": {"errors", "notice", "runs", "model", "hooks", "record"},
    "integrations": {"errors", "notice", "model", "record"},
    "noise": {"kernel_choice", "blocks"},
    "analysis": {"errors", "blocks", "pieces", "curve", "distribution", "runs", "noise"},
    "arrays": {"errors", "blocks", "kernel_choice", "noise", "analysis"},
    "replicates": {"errors", "distribution", "runs", "analysis"},
    "reports": {"errors", "runs", "noise", "analysis", "replicates", "arrays"},
    "page": {"errors", "runs", "analysis", "replicates", "reports"},
    "figures": {"errors", "runs", "analysis", "replicates", "reports", "page"},
    "document": {"errors", "runs", "analysis", "replicates", "reports", "page", "figures"},
    "trackers": {"errors", "_version", "distribution", "runs", "analysis"},
    "api": {"runs", "analysis", "replicates", "arrays"},
    "demo": {"errors", "record"},
    "selfcheck": {
        *("errors", "_version", "distribution", "model", "sketch", "hooks", "gradients", "record", "replay"),
        *("noise", "analysis", "api", "demo"),
    },
    "cli": {
        *("errors", "_version", "kernel_choice", "runs", "model", "inputs", "saved", "replay", "launch", "analysis"),
        *("reports", "replicates", "arrays", "page", "figures", "document", "trackers", "demo", "selfcheck"),
    },
    "__main__": {"cli"},
    "__init__": {"_version", "errors", "api", "model", "gradients", "record", "replay", "launch"},
}
"""What each room may import of ours beside its own files. Nobody imports the package itself."""

NEVER = (("record", "replay"), ("replay", "record"), ("inputs", "hooks"), ("saved", "hooks"))
"""Which room never comes to import which other, not even by way of a third."""

TORCH = {"model", "sketch", "inputs", "saved", "gradients", "hooks", "record", "replay", "launch", "demo", "selfcheck"}
"""Rooms that may import torch. `integrations` leaves it to `record`; the others read and show what was measured."""

WITH_TORCH = {"cli/demo.py": "sets the number of threads before it trains"}
"""Files of rooms without torch that import it all the same, and why."""

WITHOUT_TORCH = {
    "launch/script.py": "a script is prepared before torch is imported",
    "launch/children.py": "a process that loads no torch must not wait for it",
    "launch/startup/sitecustomize.py": "every process imports it",
}
"""Files of rooms with torch that must not import it, and why."""

SHARED_BY_COMMANDS = {"main", "command", "commands", "options", "output", "saved", "values"}
"""Files of `cli` that are no commands."""

TORCH_PRIVATE = "model/torch_private.py"
"""The one file that uses private names of torch."""

OF_EVERY_MODULE = {
    *("_modules", "_parameters", "_buffers", "_forward_hooks", "_forward_pre_hooks", "_forward_pre_hooks_with_kwargs"),
    "_load_from_state_dict",
}
"""Private attributes that may be used everywhere: in every pickle of a module there is, or there to be overridden."""

LONGEST = 400
"""Lines a file may have."""

LARGEST = 0.15
"""The share of the package's lines that a folder may hold. What lies deeper counts too: `saved` with its `formats`."""


@dataclass(frozen=True)
class Module:
    """A file of the package: its dotted name without the package's, and its path from the package's folder."""

    name: str
    path: str
    file: Path

    @property
    def room(self) -> str:
        return self.name.split(".")[0]


def modules(package: Path) -> list[Module]:
    files = [file.relative_to(package) for file in sorted(package.rglob("*.py"))]
    return [Module(".".join(file.with_suffix("").parts), file.as_posix(), package / file) for file in files]


def not_allowed(package: Path) -> list[str]:
    """Imports of a room that ALLOWED does not give, of types alone too."""
    return [
        f"{module.path} imports {target}"
        for module in modules(package)
        for target in sorted(own_imports(package, module))
        if (room := target.split(".")[0]) != module.room and room not in ALLOWED.get(module.room, ())
    ]


def never_kept(package: Path) -> list[str]:
    """Ways, over any number of modules, from a room to one that it must never reach."""
    graph = {module.name: own_imports(package, module, typing=False) for module in modules(package)}
    ways = [_way(graph, name, end) for start, end in NEVER for name in graph if name.split(".")[0] == start]
    return [" imports ".join(way) for way in ways if way]


def _way(graph: dict[str, set[str]], start: str, room: str) -> list[str]:
    """The shortest chain of imports from a module into a room; empty where there is none."""
    ways, seen = [[start]], {start}
    for way in ways:
        if way[-1].split(".")[0] == room:
            return way
        following = sorted(graph.get(way[-1], set()) - seen)
        seen.update(following)
        ways += [[*way, name] for name in following]
    return []


def torch_outside(package: Path) -> list[str]:
    """Files that import torch where it may not be; for its types alone any file may."""
    return [
        f"{module.path} imports torch"
        for module in modules(package)
        if any(name.split(".")[0] == "torch" for name, _ in imports(module.file, typing=False))
        and (module.path in WITHOUT_TORCH or (module.room not in TORCH and module.path not in WITH_TORCH))
    ]


def private_of_torch(package: Path) -> list[str]:
    """Private names of torch outside of the one file for them: imported, by way of `torch`, in text, of its objects."""
    found = []
    for module in modules(package):
        if module.path == TORCH_PRIVATE:
            continue
        nodes = nodes_of(module.file)
        names = [name for name, _ in imports(module.file)]
        names += [_loaded_by_name(node) for node in nodes]
        names += _attributes(nodes, _imported(nodes))
        private = [name for name in names if name.split(".")[0] in ("torch", "") and _is_private(name)]
        found += [f"{module.path} uses {name}" for name in dict.fromkeys(private)]
    return found


def _is_private(name: str) -> bool:
    """Whether a part of a dotted name is private; those that Python itself gives a meaning (`__version__`) are not."""
    return any(part.startswith("_") and not part.startswith("__") for part in name.split("."))


def _imported(nodes: list[ast.AST]) -> dict[str, str]:
    """What the names that a file imports are, dotted."""
    found = {}
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and not node.level:
            found |= {name.asname or name.name: f"{node.module}.{name.name}" for name in node.names}
        elif isinstance(node, ast.Import):
            found |= {name.asname or name.name.split(".")[0]: name.asname and name.name for name in node.names}
    return {name: full or name for name, full in found.items()}


def _attributes(nodes: list[ast.AST], imported: dict[str, str]) -> list[str]:
    """The shortest private attributes of what a file imports (`torch._C`), and those (`._base`) of what is not its own.

    Its own are those that it sets anywhere, and functions.
    """
    attributes = [node for node in nodes if isinstance(node, ast.Attribute)]
    own = {node.attr for node in attributes if isinstance(node.ctx, ast.Store)}
    own |= {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
    found = []
    for node in attributes:
        root, _, rest = _dotted(node.value).partition(".")
        if not _is_private(node.attr) or _is_private(rest) or root in ("self", "cls") or node.attr in OF_EVERY_MODULE:
            continue
        if root in imported:
            found.append(".".join(filter(None, (imported[root], rest, node.attr))))
        elif node.attr not in own:
            found.append(f".{node.attr}")
    return found


def _dotted(node: ast.AST) -> str:
    """`torch.a.b` for the attribute of an attribute of a name; empty for what is none."""
    if isinstance(node, ast.Name):
        return node.id
    inner = _dotted(node.value) if isinstance(node, ast.Attribute) else ""
    return f"{inner}.{node.attr}" if inner and isinstance(node, ast.Attribute) else ""


def _loaded_by_name(node: ast.AST) -> str:
    """The module that is named by a text in `import_module("…")`, `sys.modules.get("…")` or `"…" in sys.modules`."""
    texts: list[ast.expr] = []
    if isinstance(node, ast.Call) and _dotted(node.func) in ("import_module", "sys.modules.get", "__import__"):
        texts = node.args[:1]
    elif isinstance(node, ast.Compare) and _dotted(node.comparators[0]) == "sys.modules":
        texts = [node.left]
    elif isinstance(node, ast.Subscript) and _dotted(node.value) == "sys.modules":
        texts = [node.slice]
    return next((text.value for text in texts if isinstance(text, ast.Constant)), "")


def commands_of_commands(package: Path) -> list[str]:
    """Commands that import one another: what two commands need is no command's."""
    return [
        f"{module.path} imports {target}"
        for module in modules(package)
        if module.room == "cli" and module.name.split(".")[-1] not in SHARED_BY_COMMANDS
        for target in sorted(own_imports(package, module))
        if target.split(".")[0] == "cli" and target.split(".")[1] not in SHARED_BY_COMMANDS | {"__init__"}
    ]


def busy_inits(package: Path) -> list[str]:
    """Folders whose `__init__` is more than a docstring: importing one file of a folder would load others."""
    return [
        f"{module.path} does more than say what the folder is for"
        for module in modules(package)
        if module.name.endswith(".__init__")
        and not all(_is_docstring(node) for node in ast.parse(module.file.read_text()).body)
    ]


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def long_files(package: Path) -> list[str]:
    lengths = {module.path: _lines(module.file) for module in modules(package)}
    return [f"{path} has {lines} lines" for path, lines in lengths.items() if lines > LONGEST]


def large_rooms(package: Path) -> list[str]:
    lines: dict[str, int] = {}
    for module in modules(package):
        lines[module.room] = lines.get(module.room, 0) + _lines(module.file)
    whole = sum(lines.values())
    return [f"{room} holds {n / whole:.1%} of all lines" for room, n in lines.items() if n > LARGEST * whole]


def _lines(file: Path) -> int:
    return len(file.read_text().splitlines())


def cycles(package: Path) -> list[str]:
    """A circle of modules that import one another, within functions too, but not for types alone."""
    try:
        TopologicalSorter({m.name: own_imports(package, m, typing=False) for m in modules(package)}).prepare()
    except CycleError as error:
        return [" imports ".join(reversed(error.args[1]))]
    return []


def untested(package: Path, tests: Path) -> list[str]:
    """Modules without a test file of their own: `tests/<folder>/test_<file>.py` or `test_<file>_<aspect>.py`."""
    missing = []
    for module in modules(package):
        folder, stem = Path(module.path).parent, Path(module.path).stem
        files = (tests / folder).glob("test_*.py")
        if stem not in ("__init__", "__main__", "_version") and not any(_tests(file.stem, stem) for file in files):
            missing.append((folder / f"test_{stem}.py").as_posix())
    return missing


def of_no_module(package: Path, tests: Path) -> list[str]:
    """Test files in the folder of a room that do not begin with the name of a file of that room."""
    found = []
    for folder in sorted({module.file.parent for module in modules(package)} - {package}):
        stems = [file.stem for file in folder.glob("*.py")]
        beside = sorted((tests / folder.relative_to(package)).glob("test_*.py"))
        found += [file.relative_to(tests).as_posix() for file in beside if not any(_tests(file.stem, s) for s in stems)]
    return found


def _tests(test: str, stem: str) -> bool:
    return test == f"test_{stem}" or test.startswith(f"test_{stem}_")


@cache
def own_imports(package: Path, module: Module, *, typing: bool = True) -> set[str]:
    """The package's modules that a module imports; the package itself is `__init__`."""
    found = set()
    for name, level in imports(module.file, typing=typing):
        if level:
            inner = ".".join((*module.name.split(".")[:-level], *filter(None, [name])))
        elif name.split(".")[0] == package.name:
            inner = name.partition(".")[2]
        else:
            continue
        found.add(_module_of(package, inner))
    return found - {module.name}


def _module_of(package: Path, name: str) -> str:
    """The module that `from … import …` loads for a dotted name, of which the end may be a name within it."""
    parts = name.split(".") if name else []
    while parts:
        place = package.joinpath(*parts)
        if place.with_suffix(".py").is_file():
            return ".".join(parts)
        if place.is_dir():
            return ".".join((*parts, "__init__"))
        parts.pop()
    return "__init__"


@cache
def imports(file: Path, *, typing: bool = True) -> tuple[tuple[str, int], ...]:
    """What a file imports, at its top and in functions, as (dotted name, leading dots), for types too by default."""
    nodes, for_types = nodes_of(file), set()
    for block in [] if typing else [node for node in nodes if isinstance(node, ast.If)]:
        if isinstance(block.test, ast.Name) and block.test.id == "TYPE_CHECKING":
            for_types |= {node for statement in block.body for node in ast.walk(statement)}
    found = []
    for node in nodes:
        if node in for_types:
            continue
        if isinstance(node, ast.ImportFrom):
            prefix = f"{node.module}." if node.module else ""
            found += [(prefix + name.name, node.level) for name in node.names]
        elif isinstance(node, ast.Import):
            found += [(name.name, 0) for name in node.names]
    return tuple(found)


@cache
def nodes_of(file: Path) -> list[ast.AST]:
    """All nodes of a file, for every rule: to parse it and to walk through it takes most of the time."""
    return [*ast.walk(ast.parse(file.read_text()))]
