"""The dashboard as files: how they are served, and what must hold for all of them (dashboard.md §2, §3, §17.1)."""

from __future__ import annotations

import gzip
import json
import re
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

import pytest

from goclaw.edge.http.ui import FILES, UiFiles

MODULES = sorted((FILES / "app").rglob("*.mjs"))
SOURCES = {path: path.read_text() for path in [*MODULES, FILES / "app/theme.js", FILES / "index.html"]}
CATALOGUES = {code: json.loads((FILES / f"i18n/{code}.json").read_text()) for code in ("en", "vi", "zh")}


@pytest.fixture(scope="module")
def ui() -> UiFiles:
    return UiFiles("1.2.3")


def get(ui: UiFiles, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    status, answered, body = ui.answer(path, {name.replace("_", "-"): value for name, value in headers.items()})
    return status, {name.lower(): value for name, value in answered}, body


@pytest.mark.parametrize("path", ["/ui/", "/ui/index.html", "/ui/chat", "/ui/actors/deeper/still"])
def test_every_page_address_answers_the_index(ui: UiFiles, path: str) -> None:
    status, headers, body = get(ui, path)

    assert status == 200
    assert headers["content-type"] == "text/html; charset=utf-8"
    assert headers["cache-control"] == "no-cache"
    assert b'<meta name="goclaw-version" content="1.2.3">' in body


@pytest.mark.parametrize(
    "path",
    [
        "/ui/missing.mjs",
        "/ui/a/000000000000/app/main.mjs",
        "/ui/app/main.mjs",
        "/other",
        "/ui/../pyproject.toml",
        "/ui/a/",
    ],
)
def test_what_is_not_there_is_not_found(ui: UiFiles, path: str) -> None:
    assert get(ui, path)[0] == 404


def test_an_asset_is_kept_for_a_year_because_its_address_names_the_tree(ui: UiFiles) -> None:
    status, headers, body = get(ui, f"{ui.assets_at}app/main.mjs")

    assert status == 200
    assert headers["cache-control"] == "public, max-age=31536000, immutable"
    assert headers["content-type"] == "text/javascript; charset=utf-8"
    assert body == (FILES / "app/main.mjs").read_bytes()


def test_one_changed_byte_changes_every_address(tmp_path: Path) -> None:
    for name in ("index.html", "x.mjs"):
        (tmp_path / name).write_text('<script type="importmap">{}</script>' if name == "index.html" else "1")
    first = UiFiles("1", files=tmp_path)

    (tmp_path / "x.mjs").write_text("2")

    assert UiFiles("1", files=tmp_path).assets_at != first.assets_at


def test_a_reader_that_takes_gzip_gets_it(ui: UiFiles) -> None:
    path = f"{ui.assets_at}vendor/dompurify.mjs"

    _, headers, packed = get(ui, path, accept_encoding="br;q=1, gzip;q=0.8")
    _, plain_headers, plain = get(ui, path, accept_encoding="gzip;q=0")

    assert headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain_headers
    assert gzip.decompress(packed) == plain


def test_an_unchanged_index_is_not_sent_again(ui: UiFiles) -> None:
    _, headers, _ = get(ui, "/ui/")

    status, again, body = get(ui, "/ui/sessions", if_none_match=f'W/"old", {headers["etag"]}')

    assert (status, body) == (304, b"")
    assert again["etag"] == headers["etag"]
    assert get(ui, "/ui/", if_none_match='"old"')[0] == 200


def test_the_policy_allows_the_import_map_and_nothing_else_inline(ui: UiFiles) -> None:
    _, headers, page = get(ui, "/ui/")
    inline = re.findall(rb"<script(?![^>]* src)[^>]*>(.*?)</script>", page, re.DOTALL)

    digest = b64encode(sha256(inline[0]).digest()).decode()
    assert len(inline) == 1
    assert headers["content-security-policy"] == (
        f"default-src 'none'; script-src 'self' 'sha256-{digest}'; style-src 'self'; img-src 'self' data: blob:; "
        "font-src 'self'; media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types goclaw-md dompurify"
    )
    assert not re.search(rb"<style|\sstyle=|\son\w+=", page)


def test_guards_stand_on_every_answer(ui: UiFiles) -> None:
    for path in ("/ui/", f"{ui.assets_at}icons.svg", "/ui/missing.png"):
        _, headers, _ = get(ui, path)
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-opener-policy"] == "same-origin"


def test_vendored_files_are_the_ones_we_read() -> None:
    rows = json.loads((FILES / "vendor/VENDOR.json").read_text())

    for row in rows:
        assert sha256((FILES / row["file"]).read_bytes()).hexdigest() == row["sha256"], row["file"]
        assert (FILES / row["licence_text"]).is_file()
    assert {p.name for p in (FILES / "vendor").glob("*.mjs")} == {
        Path(r["file"]).name for r in rows if r["file"].endswith(".mjs")
    }


def test_the_sprite_holds_the_icons_in_use_and_no_others() -> None:
    source = "\n".join(SOURCES.values())
    symbols = set(re.findall(r'symbol id="([^"]+)"', (FILES / "icons.svg").read_text()))
    named = set(re.findall(r'(?:Icon\} name|icon)="([a-z-]+)"', source))

    assert named <= symbols
    assert {name for name in symbols if not re.search(rf"""['"]{name}['"]""", source)} == set()


def test_every_import_stays_inside_the_tree(ui: UiFiles) -> None:
    page = get(ui, "/ui/")[2].decode()
    bare = set(json.loads(page.split('type="importmap">')[1].split("</script>")[0])["imports"])

    for path, source in SOURCES.items():
        for name in re.findall(r"""(?:from|import)\s*\(?\s*['"]([^'"]+)['"]""", source):
            assert name in bare or (path.parent / name).resolve().is_file(), f"{path.name} imports {name}"


def test_no_file_of_ours_names_another_origin_or_an_unsafe_sink() -> None:
    for path, source in SOURCES.items():
        assert not re.search(r"https?://\w", source), path.name
        sinks = re.findall(
            r"\.innerHTML|\.outerHTML|insertAdjacentHTML|dangerouslySetInnerHTML|\beval\(|document\.write", source
        )
        assert sinks == ([".innerHTML"] if path.name == "markdown.mjs" else []), path.name


def test_all_languages_have_the_same_texts_with_the_same_gaps() -> None:
    gaps = {
        code: {key: set(re.findall(r"\{\w+\}", text)) for key, text in texts.items()}
        for code, texts in CATALOGUES.items()
    }

    assert gaps["vi"].keys() == gaps["en"].keys() == gaps["zh"].keys()
    for key, wanted in gaps["en"].items():
        for code in ("vi", "zh"):
            assert gaps[code][key] | {"{n}"} == wanted | {"{n}"}, f"{code}: {key}"


def test_every_text_used_exists_and_every_text_is_used() -> None:
    source = "\n".join(SOURCES.values())
    keys = {re.sub(r"\.(one|other)$", "", key) for key in CATALOGUES["en"]}
    exact = set(re.findall(r"\bt\('([^'$]+)'", source)) | {key for key in keys if f"'{key}'" in source}
    prefixes = tuple(re.findall(r"\bt\(`([^`$]+)\$\{", source))

    assert exact <= keys
    assert all(any(key.startswith(prefix) for key in keys) for prefix in prefixes)
    assert {key for key in keys - exact if not key.startswith(prefixes)} == set()


def test_templates_hold_no_words_of_their_own() -> None:
    for path in MODULES:
        for template in re.findall(r"html`(.*?)`", path.read_text(), re.DOTALL):
            without_code = re.sub(r"\$\{[^{}]*\}", "", template)
            assert set(re.findall(r">\s*([A-Za-z]{2,})[^<>{}=]*<", without_code)) <= {"GoClaw"}, path.name
