"""The file tools with what they need and nobody to keep anything: context files and maps are nowhere."""

from __future__ import annotations

from pathlib import Path

from goclaw.tools.context_files import ContextFiles, OnlyFiles
from goclaw.tools.fs.maps import Maps
from goclaw.tools.tool import collect, equipped

FILE_TOOLS = equipped(collect("goclaw.tools.fs"), {ContextFiles: OnlyFiles(), Maps: Maps(Path("/nonexistent"))})
