"""Whether the BUCK file says what Cargo.toml says: read, linted and evaluated by a Starlark implementation.

This is not buck2: the rules are stand-ins that note what they are given. It sees a wrong label, a missing source, a
dependency or version that moved in Cargo.toml alone, and everything that is no Starlark. Run from anywhere:

    python tests/buck/check.py
"""

import json
import pathlib
import re
import subprocess
import sys
import tomllib

import starlark

ROOT = pathlib.Path(__file__).resolve().parents[2]

# The attributes that are used of each of the prelude's rules, so that a misspelt one is seen.
ATTRIBUTES = {
    "filegroup": {"srcs"},
    "rust_library": {"srcs", "crate", "crate_root", "edition", "env", "rustc_flags", "visibility", "deps"},
    "rust_binary": {"srcs", "crate", "crate_root", "edition", "env", "visibility", "deps"},
    "buildscript_run": {"package_name", "buildscript_rule", "manifest_dir", "version"},
}
# What buildscript_run makes of the build script, as sub-targets.
SUB_TARGETS = {"out_dir", "rustc_flags"}

failures = []


def expect(truth, sentence):
    if not truth:
        failures.append(sentence)


def glob(include, exclude=()):
    """Buck's glob: files below the package, by patterns."""
    found = {path for pattern in include for path in ROOT.glob(pattern) if path.is_file()}
    found -= {path for pattern in exclude for path in ROOT.glob(pattern)}
    expect(found, f"glob({include}) finds nothing")
    return sorted(str(path.relative_to(ROOT)) for path in found)


def evaluate(text):
    """The rules of a BUCK file: name → (kind, attributes)."""
    rules = {}

    def stand_in(kind):
        def rule(name, **attributes):
            expect(name not in rules, f"two rules are called {name}")
            unknown = set(attributes) - ATTRIBUTES[kind]
            expect(not unknown, f"{kind} {name}: no such attribute: {sorted(unknown)}")
            rules[name] = (kind, attributes)

        return rule

    def load(path):
        expect(path == "@prelude//rust:cargo_buildscript.bzl", f"{path} is not a file of the prelude that is known here")
        loaded = starlark.Module()
        loaded.add_callable("buildscript_run", stand_in("buildscript_run"))
        return loaded.freeze()

    ast = starlark.parse("BUCK", text)
    for lint in ast.lint():
        failures.append(str(lint))
    module = starlark.Module()
    for kind in ("filegroup", "rust_library", "rust_binary"):
        module.add_callable(kind, stand_in(kind))
    module.add_callable("glob", glob)
    starlark.eval(module, ast, starlark.Globals.standard(), starlark.FileLoader(load))
    return rules


def labels(attributes):
    """Every label in a rule's attributes: in lists, in values, and in $(location …)."""
    for value in attributes.values():
        for text in value if isinstance(value, list) else value.values() if isinstance(value, dict) else [value]:
            yield from re.findall(r"\$\(location ([^)]*)\)", text)
            if re.match(r"(//|:)", text):
                yield text


def third_party(attributes):
    return {label.removeprefix("//third-party:") for label in attributes.get("deps", []) if label.startswith("//")}


def included(file):
    """The files that a source includes at compile time, as paths from the root."""
    for path in re.findall(r'include_(?:str|bytes)!\(\s*"([^"]+)"', file.read_text()):
        yield str((file.parent / path).resolve().relative_to(ROOT))


def main():
    cargo = tomllib.loads((ROOT / "Cargo.toml").read_text())
    package = cargo["package"]
    rules = evaluate((ROOT / "BUCK").read_text())

    for name, (kind, attributes) in rules.items():
        for label in labels(attributes):
            target = re.fullmatch(r":([\w-]+)(?:\[(\w+)\])?", label)
            if target:
                expect(target[1] in rules, f"{name}: there is no {label}")
                expect(target[2] in SUB_TARGETS | {None}, f"{name}: {label} has no such sub-target")
            else:
                expect(re.fullmatch(r"//third-party:[\w-]+", label), f"{name}: {label} is neither here nor in //third-party")
        for source in attributes.get("srcs", []):
            expect((ROOT / source).is_file(), f"{name}: there is no {source}")
        if kind.startswith("rust_"):
            expect(attributes.get("edition") == package["edition"], f"{name}: the edition is not Cargo.toml's")
            expect(attributes.get("crate_root") in attributes["srcs"], f"{name}: its crate_root is not among its srcs")
        if kind == "buildscript_run":
            expect(attributes.get("version") == package["version"], f"{name}: the version is not Cargo.toml's")
        for variable, key in (("VERSION", "version"), ("NAME", "name"), ("DESCRIPTION", "description")):
            value = attributes.get("env", {}).get(f"CARGO_PKG_{variable}", package[key])
            expect(value == package[key], f"{name}: CARGO_PKG_{variable} is not Cargo.toml's")

    binary, library = rules["distribution"], rules["distribution-lib"]
    script = rules["distribution-build-script-build"]
    expect(binary[0] == "rust_binary", "distribution is not a rust_binary")
    expect(library[0] == "rust_library", "distribution-lib is not a rust_library")
    expect(":distribution-lib" in binary[1]["deps"], "distribution does not depend on distribution-lib")
    expect(third_party(library[1]) == set(cargo["dependencies"]), "distribution-lib: deps are not Cargo.toml's [dependencies]: "
           f"{sorted(third_party(library[1]) ^ set(cargo['dependencies']))}")
    expect(third_party(script[1]) == set(cargo["build-dependencies"]), "the build script: deps are not Cargo.toml's [build-dependencies]: "
           f"{sorted(third_party(script[1]) ^ set(cargo['build-dependencies']))}")
    expect(third_party(binary[1]) <= set(cargo["dependencies"]), "distribution: a dependency that Cargo.toml does not have")

    compiled = set(library[1]["srcs"]) | set(binary[1]["srcs"])
    for source in sorted(ROOT.glob("src/**/*.rs")):
        name = str(source.relative_to(ROOT))
        expect(name in compiled, f"{name} is in no target")
        for path in included(source):
            expect(path in compiled, f"{name} includes {path}, which is not among the srcs")
        for variable in re.findall(r'\benv!\("(\w+)"', source.read_text()):
            expect(variable in library[1]["env"], f"{name} wants {variable}, which distribution-lib does not set")
        expect("migrate!(" not in source.read_text(), f"{name}: migrate! reads a directory that Buck does not show it; include the files")

    # reindeer refuses a crate with a build script until a fixup says what to do with it.
    fixups = {path.parent.name for path in ROOT.glob("third-party/fixups/*/fixups.toml")}
    scripted = with_build_scripts(package["name"])
    expect(fixups == scripted, f"third-party/fixups and the crates that have build scripts differ in {sorted(fixups ^ scripted)}")
    for path in ROOT.glob("third-party/**/*.toml"):
        tomllib.loads(path.read_text())
    ring = tomllib.loads((ROOT / "third-party/fixups/ring/fixups.toml").read_text())["buildscript"]["run"]["env"]
    locked = {crate["name"]: crate["version"] for crate in tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]}
    told = ".".join(ring[f"CARGO_PKG_VERSION_{part}"] for part in ("MAJOR", "MINOR", "PATCH"))
    expect(told == locked["ring"], f"third-party/fixups/ring says {told}, Cargo.lock {locked['ring']}")

    for failure in failures:
        print(f"BUCK: {failure}")
    print(f"BUCK: {len(rules)} rules, {len(third_party(library[1]))} dependencies, {len(compiled)} sources: {'not ' if failures else ''}as Cargo.toml says")
    return 1 if failures else 0


def with_build_scripts(ourselves):
    """The crates that a build on Linux compiles and that have a build script."""
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", "x86_64-unknown-linux-gnu"]
    metadata = json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)
    # Without what is for tests alone: from the package, along dependencies that are not development ones.
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    reached, left = set(), [metadata["resolve"]["root"]]
    while left:
        this = left.pop()
        if this in reached:
            continue
        reached.add(this)
        left += [dep["pkg"] for dep in nodes[this]["deps"] if any(kind["kind"] != "dev" for kind in dep["dep_kinds"])]
    scripted = (p for p in metadata["packages"] if p["id"] in reached and any("custom-build" in t["kind"] for t in p["targets"]))
    return {p["name"] for p in scripted} - {ourselves}


if __name__ == "__main__":
    sys.exit(main())
