#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Writes rust-project.json, which tells rust-analyzer about the crates of this project.

The kernel has a generator for its own crates and for external modules; it knows no crate between
the two. This takes its output, and adds `virtio_wire`, `kernel_ext`, and the crates that use them.
For the Makefile:

  FLAVOUR=... scripts/rust-project.py            for that kernel, see scripts/kernel
  KDIR=...    scripts/rust-project.py            for that build tree
              scripts/rust-project.py --check    only check the file that is there

The modules have to be built: the bindings and the procedural macros are generated code. An editor
runs outside the toolbox, so the paths are those that are valid there.
"""

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Crate = dict[str, Any]
Project = dict[str, Any]

PROJECT = Path(__file__).resolve().parent.parent
OUTPUT = PROJECT / "rust-project.json"
VIRTIO_WIRE = PROJECT / "rust" / "virtio_wire" / "lib.rs"
KERNEL_EXT = PROJECT / "rust" / "kernel_ext" / "lib.rs"

# What kbuild passes to every Rust object by --extern, and `core`.
KERNEL_DEPS = ("core", "kernel", "pin_init", "zerocopy", "zerocopy_derive")


def build_tree() -> Path:
    """Returns the build tree of the kernel."""
    if kdir := os.environ.get("KDIR"):
        return Path(kdir).resolve()
    command = [str(PROJECT / "scripts" / "kernel"), os.environ["FLAVOUR"]]
    return Path(subprocess.check_output(command, text=True).strip())


def makefiles(path: Path) -> Iterator[Path]:
    """Yields a makefile, and those that it includes."""
    yield path
    for name in re.findall(r"^include \$\(src\)/(\S+)$", path.read_text(), re.MULTILINE):
        yield from makefiles(PROJECT / name)


def users() -> list[Path]:
    """Returns the crate roots that use `kernel_ext`: objects in makefiles that are Rust."""
    roots = set()
    for makefile in makefiles(PROJECT / "Kbuild"):
        for name in re.findall(r"([\w/-]+)\.o\b", makefile.read_text()):
            root = PROJECT / f"{name}.rs"
            if root.exists() and root not in (VIRTIO_WIRE, KERNEL_EXT):
                roots.add(root)
    return sorted(roots)


def outside(path: str) -> str:
    """Returns the path that a file of the toolbox has outside it."""
    key = os.environ.get("RUST_VIRTIO_TOOLBOX")
    cache = os.environ.get("RUST_VIRTIO_CACHE")
    if not key or not cache:
        return path
    # An absolute symbolic link would lead elsewhere outside.
    real = Path(path).resolve()
    if any(real.is_relative_to(shared) for shared in (PROJECT, cache, "/tmp")):
        return str(real)
    return f"{cache}/toolbox-{key}{real}"


def all_outside(crate: Crate) -> None:
    """Makes the paths of a crate those that are valid outside the toolbox."""
    for name in ("root_module", "proc_macro_dylib_path"):
        if name in crate:
            crate[name] = outside(crate[name])
    for directories in crate.get("source", {}).values():
        directories[:] = map(outside, directories)


def generate(objtree: Path) -> Project:
    """Returns the project of the kernel's generator, with our crates added."""
    project: Project = json.loads((objtree / "rust-project.json").read_text())
    crates: list[Crate] = project["crates"]

    # The generator puts external crates last, so nothing refers to them. It finds some of those
    # that use `kernel_ext`, but does not know that they do; and what tests leave below build.
    unwanted = {VIRTIO_WIRE, *users(), *(PROJECT / "build").rglob("*.rs")}
    crates[:] = [crate for crate in crates if Path(crate["root_module"]) not in unwanted]
    index = {crate["display_name"]: number for number, crate in enumerate(crates)}
    for crate in crates:
        # Of the kernel, only what is used is to be looked at.
        crate["is_workspace_member"] = Path(crate["root_module"]).is_relative_to(PROJECT)

    cfg: list[str] = crates[index["kernel"]]["cfg"]

    def add(root: Path, name: str, deps: tuple[str, ...]) -> Crate:
        crate = {
            "display_name": name,
            "root_module": str(root),
            "is_workspace_member": True,
            "deps": [{"crate": index[dep], "name": dep} for dep in deps],
            "cfg": cfg,
            "edition": "2021",
            "env": {"RUST_MODFILE": "This is only for rust-analyzer"},
        }
        index[name] = len(crates)
        crates.append(crate)
        return crate

    bindings = objtree / "rust"
    add(VIRTIO_WIRE, "virtio_wire", ("core",))
    kernel_ext = add(KERNEL_EXT, "kernel_ext", (*KERNEL_DEPS, "virtio_wire"))
    kernel_ext["env"]["KERNEL_EXT_OBJTREE"] = str(bindings)
    # It includes a file that lies elsewhere.
    kernel_ext["source"] = {
        "include_dirs": [str(KERNEL_EXT.parent), str(bindings)],
        "exclude_dirs": [],
    }
    if "CONFIG_KUNIT" in cfg:
        kernel_ext["cfg"] = [*cfg, "kernel_ext_kunit"]

    for root in users():
        add(root, root.stem.replace("-", "_"), (*KERNEL_DEPS, "virtio_wire", "kernel_ext"))

    for crate in crates:
        all_outside(crate)
    project["sysroot"] = outside(project["sysroot"])
    return project


def needed_paths(crate: Crate) -> Iterator[str]:
    """Yields the paths that have to exist for a crate."""
    yield crate["root_module"]
    yield from crate.get("source", {}).get("include_dirs", [])
    if crate.get("is_proc_macro"):
        yield crate["proc_macro_dylib_path"]
    if objtree := crate["env"].get("KERNEL_EXT_OBJTREE"):
        yield f"{objtree}/bindings/bindings_generated.rs"


def problems(project: Project) -> Iterator[str]:
    """Yields what is wrong with a project."""
    crates: list[Crate] = project["crates"]
    for crate in crates:
        name = crate["display_name"]
        for path in needed_paths(crate):
            if not os.path.exists(path):
                yield f"{name}: there is no {path}"
        for dep in crate["deps"]:
            if not 0 <= dep["crate"] < len(crates):
                yield f"{name}: there is no crate {dep['crate']}"
            elif crates[dep["crate"]]["display_name"] != dep["name"]:
                yield f"{name}: crate {dep['crate']} is not {dep['name']}"
    if not os.path.exists(project["sysroot"]):
        yield f"there is no {project['sysroot']}"

    deps = {crate["root_module"]: {dep["name"] for dep in crate["deps"]} for crate in crates}
    if "virtio_wire" not in deps.get(str(KERNEL_EXT), set()):
        yield f"{KERNEL_EXT} is missing, or does not depend on virtio_wire"
    for root in users():
        if "kernel_ext" not in deps.get(str(root), set()):
            yield f"{root} is missing, or does not depend on kernel_ext"


def main() -> int:
    """Writes the file, unless it is only to be checked, and says what is wrong with it."""
    parser = argparse.ArgumentParser(description="Write rust-project.json.")
    parser.add_argument("--check", action="store_true", help="only check the file that is there")
    args = parser.parse_args()

    if not args.check:
        os.environ.setdefault("FLAVOUR", "7.3-amd64")
        try:
            tree = build_tree()
            subprocess.run([PROJECT / "scripts" / "kbuild", "", "rust-analyzer"], check=True)
        except subprocess.CalledProcessError as error:
            # It has said why.
            return error.returncode
        release = (tree / "include" / "config" / "kernel.release").read_text().strip()
        project = generate(PROJECT / "build" / release)
        OUTPUT.write_text(json.dumps(project, indent=1, sort_keys=True) + "\n")

    if not OUTPUT.exists():
        sys.exit(f"rust-project: there is no {OUTPUT}; make rust-analyzer writes it")
    found = list(problems(json.loads(OUTPUT.read_text())))
    for problem in found:
        print(f"rust-project: {problem}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
