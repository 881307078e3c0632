"""Verbs of package managers that change what is installed, or run what they fetch."""

from __future__ import annotations

import re

from goclaw.security.shell.call import Call
from goclaw.security.shell.languages import language, module

PIP = frozenset({"install", "uninstall", "download", "wheel", "sync"})
VERBS: dict[str, frozenset[str]] = {
    name: frozenset(verbs.split())
    for name, verbs in {
        "uv": "add remove sync lock pip tool",
        "pipx": "install uninstall run upgrade upgrade-all inject reinstall reinstall-all uninstall-all runpip",
        "conda": "install remove uninstall update upgrade create env",
        "mamba": "install remove uninstall update upgrade create env",
        "micromamba": "install remove uninstall update upgrade create env",
        "poetry": "add remove install update self",
        "pdm": "add remove install update sync",
        (
            "npm"
        ): "install i in ins inst insta isntall add ci clean-install uninstall un unlink remove rm r update up upgrade "
        "link ln exec x dedupe audit-fix init create install-test it",
        "yarn": "add remove install upgrade up dlx create link global import",
        "pnpm": "add remove rm uninstall install i update up upgrade dlx create link import",
        "bun": "add remove rm install i update x link create upgrade a",
        "deno": "install add uninstall remove upgrade",
        "apt": "install remove purge upgrade full-upgrade dist-upgrade autoremove update build-dep reinstall",
        "apt-get": "install remove purge upgrade dist-upgrade autoremove update build-dep source reinstall",
        "aptitude": "install remove purge upgrade safe-upgrade full-upgrade update reinstall",
        "yum": "install remove erase update upgrade localinstall reinstall autoremove groupinstall downgrade",
        "dnf": "install remove erase update upgrade reinstall autoremove group downgrade copr builddep",
        "microdnf": "install remove update upgrade reinstall",
        "zypper": "install in remove rm update up dist-upgrade dup patch addrepo ar",
        "apk": "add del fix upgrade update",
        "brew": "install uninstall remove rm upgrade reinstall tap update link cask bundle",
        "port": "install uninstall upgrade selfupdate",
        "snap": "install remove refresh try",
        "flatpak": "install uninstall remove update run",
        "gem": "install uninstall update",
        "bundle": "install update add remove",
        "cargo": "install uninstall add remove binstall",
        "composer": "install require remove update create-project global",
        "luarocks": "install remove build make",
        "choco": "install uninstall upgrade",
        "winget": "install uninstall upgrade",
        "scoop": "install uninstall update",
        "nix": "profile run shell",
        "guix": "install remove upgrade package shell",
        "rustup": "install update self toolchain component target default uninstall",
        "corepack": "enable disable prepare install use up",
        "opam": "install remove upgrade update reinstall",
        "cabal": "install update",
        "ghcup": "install upgrade rm",
        "sdk": "install uninstall upgrade update",
        "tlmgr": "install remove update",
        "pecl": "install uninstall upgrade",
        "pear": "install uninstall upgrade",
        "vcpkg": "install remove upgrade",
        "conan": "install",
        "ansible-galaxy": "install",
        "mix": "archive.install local.hex local.rebar escript.install",
        **dict.fromkeys(
            ("nvm", "fnm", "volta", "pyenv", "rbenv", "nodenv", "asdf", "mise"), "install uninstall upgrade update"
        ),
    }.items()
}
ALWAYS = frozenset({"easy_install", "cpanm", "cpan", "uvx", "bunx", "pnpx", "emerge", "xbps-install", "xbps-remove"})
VALUED = frozenset(
    [
        "--index-url",
        "--extra-index-url",
        "--cache-dir",
        "--log",
        "--proxy",
        "--python",
        "--prefix",
        "--cwd",
        "--dir",
        "--directory",
        "-C",
        "--project",
        "--registry",
        "--config",
        "--root",
        "--manifest-path",
        "-n",
        "--name",
        "-p",
        "--filter",
        "--workspace",
        "-w",
        "-F",
        "--loglevel",
        "-q",
        "--repo",
        "-t",
        "-o",
        "-c",
    ]
)
LOCAL = frozenset(
    {
        "tsc",
        "eslint",
        "prettier",
        "jest",
        "vitest",
        "mocha",
        "webpack",
        "vite",
        "rollup",
        "playwright",
        "cypress",
        "ts-node",
        "tsx",
        "next",
        "nuxt",
        "ng",
        "stylelint",
        "husky",
        "lint-staged",
        "tailwindcss",
        "prisma",
        "turbo",
        "nx",
        "lerna",
        "ava",
        "karma",
        "rimraf",
        "concurrently",
        "nodemon",
        "esbuild",
        "swc",
        "babel",
        "biome",
        "astro",
        "storybook",
        "typedoc",
        "c8",
        "nyc",
        "tap",
        "knex",
        "drizzle-kit",
        "markdownlint",
        "postcss",
        "sass",
        "svelte-check",
        "vue-tsc",
        "depcheck",
        "madge",
        "patch-package",
        "changeset",
        "commitlint",
        "semantic-release",
    }
)


def refuse(call: Call) -> str | None:
    name = call.name
    if name in ALWAYS and not call.long("--help", "--version"):
        return "installs"
    if re.fullmatch(r"pip(?:\d(?:\.\d+)*)?", name):
        return "installs" if _verb(call.args) in PIP else None
    if language(name) == "python":
        return _python(call)
    if name == "npx":
        return _npx(call)
    if name in ("nix-env", "nix-shell"):
        return "installs" if call.short("iuep" if name == "nix-env" else "p") or call.long("--packages") else None
    if name == "dotnet":
        return (
            "installs"
            if call.operands[:2] in (["tool", "install"], ["tool", "update"], ["workload", "install"])
            else None
        )
    if name in ("code", "codium", "cursor"):
        return "installs" if call.long("--install-extension") else None
    if name == "gh":
        return "installs" if call.operands[:2] in (["extension", "install"], ["extension", "upgrade"]) else None
    if name in ("deno", "bun") and any(each.startswith(("npm:", "jsr:")) for each in call.operands[:3]):
        return "runs from the registry"
    if name == "uv" and call.operands[:1] == ["run"] and call.long("--with", "--with-requirements"):
        return "runs from the registry"
    if name in ("dpkg", "rpm", "pacman"):
        return _short(call)
    if name == "go":
        return "installs" if call.operands[:1] in (["install"], ["get"]) or _remote_run(call) else None
    verbs = VERBS.get(name)
    if verbs is None:
        return None
    if name == "yarn" and not call.operands and not call.flags:
        return "installs"
    return _managed(call, verbs)


def _managed(call: Call, verbs: frozenset[str]) -> str | None:
    verb, rest = _split(call.args)
    name = call.name
    if verb not in verbs:
        return None
    if name == "uv" and verb in ("pip", "tool"):
        return "installs" if _verb(rest) in PIP | {"run", "upgrade"} else None
    if name in ("conda", "mamba", "micromamba") and verb == "env":
        return "installs" if _verb(rest) in ("create", "update", "remove") else None
    if name in ("npm", "pnpm") and verb in ("exec", "x"):
        return None if name == "npm" and _npx_words(rest) in LOCAL else "runs from the registry"
    if name == "yarn" and verb == "global" and _verb(rest) in ("list", "bin", "dir"):
        return None
    if name == "poetry" and verb == "self" and _verb(rest) == "show":
        return None
    if name == "rustup" and verb in ("toolchain", "component", "target"):
        return "installs" if _verb(rest) in ("install", "add", "remove", "uninstall", "update") else None
    if name == "rustup" and verb == "default" and not rest:
        return None
    if name == "nix" and verb != "profile" and "nixpkgs" not in " ".join(rest):
        return None
    if name == "nix" and verb == "profile" and _verb(rest) in ("list", "history", "diff-closures"):
        return None
    if name in ("npm",) and verb in ("update",) and "--help" in rest:
        return None
    return "installs"


def _split(args: list[str]) -> tuple[str, list[str]]:
    at = 0
    while at < len(args):
        if not args[at].startswith("-"):
            return args[at], args[at + 1 :]
        at += 2 if args[at] in VALUED and at + 1 < len(args) else 1
    return "", []


def _verb(args: list[str]) -> str:
    return _split(args)[0]


def _python(call: Call) -> str | None:
    name = (module(call) or "").casefold()
    if not name and call.operands[:1] == ["setup.py"] and {"install", "develop"} & set(call.operands[1:]):
        return "installs"
    if name not in ("pip", "pipx", "ensurepip", "easy_install", "uv", "conda", "pip._internal"):
        return None
    rest = call.args[call.args.index("-m") + 2 :] if "-m" in call.args else call.args[1:]
    verbs = PIP if name.startswith("pip") and name != "pipx" else VERBS.get(name, frozenset())
    return "installs" if name in ("ensurepip", "easy_install") or _verb(rest) in verbs else None


def _npx(call: Call) -> str | None:
    word = _npx_words(call.args)
    own = call.args[: call.args.index(word)] if word else call.args
    if any(re.fullmatch(r"-[yp]+|--yes|--package(?:=.*)?", each) for each in own):
        return "runs from the registry"
    return None if not word or word in LOCAL else "runs from the registry"


def _npx_words(args: list[str]) -> str:
    return next((each for each in args if not each.startswith("-")), "")


def _short(call: Call) -> str | None:
    letters = {"dpkg": "irP", "rpm": "iUeF", "pacman": "SRU"}[call.name]
    for each in call.flags:
        if not each.startswith("--") and each[1:2] in letters:
            if call.name == "pacman" and each[1] == "S" and re.search("[si]", each[2:]):
                continue
            return "installs"
    longs = (
        "--install",
        "--remove",
        "--purge",
        "--upgrade",
        "--erase",
        "--freshen",
        "--sync",
        "--unpack",
        "--configure",
    )
    return "installs" if call.long(*longs) else None


def _remote_run(call: Call) -> bool:
    return call.operands[:1] == ["run"] and any("@" in each for each in call.operands[1:2])
