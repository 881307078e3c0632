"""Swagger UI from local files, for whoever opens /docs. Contract: edge-http.md §1, edge-auth.md §8."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path

POLICY = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'"
TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".png": "image/png"}
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>GoClaw API</title>
<link rel="icon" href="/docs/favicon-32x32.png">
<link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""
START = 'SwaggerUIBundle({ url: "/v1/openapi.json", dom_id: "#swagger-ui", deepLinking: true });\n'
FILES = ("swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png")

Answer = tuple[int, dict[str, str], bytes]


def answer(name: str) -> Answer | None:
    """A file of /docs by name, the page itself for "". None if there is no such file."""
    headers = {"Content-Security-Policy": POLICY, "Cache-Control": "public, max-age=300"}
    if name == "":
        return 200, {**headers, "Content-Type": "text/html; charset=utf-8"}, PAGE.encode()
    if name == "start.js":
        return 200, {**headers, "Content-Type": TYPES[".js"]}, START.encode()
    if name in FILES:
        return 200, {**headers, "Content-Type": TYPES[Path(name).suffix]}, _asset(name)
    return None


@cache
def _asset(name: str) -> bytes:
    spec = find_spec("swagger_ui_bundle")
    assert spec is not None
    assert spec.origin is not None
    (found,) = Path(spec.origin).parent.glob(f"vendor/swagger-ui-*/{name}")
    return found.read_bytes()
