"""How the fs tools say what a path cannot give."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from goclaw.security.paths import IsDirectory, PathRefused
from goclaw.tools.tool import ToolFailed


@contextmanager
def reading(path: str) -> Iterator[None]:
    try:
        yield
    except PathRefused as refusal:
        raise ToolFailed("denied_path", str(refusal)) from None
    except (FileNotFoundError, NotADirectoryError):
        raise ToolFailed("not_found", f"there is no {path}; list_files shows what there is") from None
    except OSError as error:
        raise ToolFailed("unsupported", f"{path} cannot be read: {error.strerror}") from None


@contextmanager
def writing(path: str) -> Iterator[None]:
    try:
        yield
    except IsDirectory as refusal:
        raise ToolFailed("conflict", f"{refusal}; name a file") from None
    except PathRefused as refusal:
        raise ToolFailed("denied_path", str(refusal)) from None
    except (FileNotFoundError, NotADirectoryError):
        raise ToolFailed("not_found", f"what is on the way to {path} is no directory") from None
    except PermissionError:
        raise ToolFailed("denied_path", f"{path} may not be changed") from None
    except OSError as error:
        raise ToolFailed("unavailable", f"{path} cannot be written: {error.strerror}") from None
