"""Runs one command for its whole life: it gains no rights, and nothing it starts outlives it.

A program of its own, made by `confine.confined`: `python -I -S keeper.py PARENT PLACE GRACE COMMAND`. It adopts what
its command leaves behind (PR_SET_CHILD_SUBREAPER), so a new session or a double fork is no way out. TERM and INT are
handed on to everything below, and GRACE seconds later all of it is killed, as it is at once on USR1, when the command
has ended by itself, and when PARENT, the gateway, is gone. Its exit code is the command's, 128 + n for signal n.
One is started per command, so its own start counts: C halves of modules only, and no tidying up at the end.
Contract: tools.md §12.1, security.md §14.
"""

import _ctypes
import _signal as signal  # type: ignore[import-not-found]
import os
import resource
import sys
import time

NO_NEW_PRIVILEGES = 38  # of prctl
CHILD_SUBREAPER = 36
FILES = 1024  # open at once; tools.md §12.1
LOOK = 1.0  # seconds between two looks for the gateway
BEAT = 0.02  # seconds between two blows
HEARD = {signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGCHLD}


class Int(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "i"


class Call(_ctypes.CFuncPtr):
    """A function of the C library."""

    _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_USE_ERRNO
    _restype_ = Int


def main(parent: int, place: int, grace: float, command: str) -> int:
    signal.pthread_sigmask(signal.SIG_BLOCK, HEARD)
    here = _ctypes.dlopen(None, os.RTLD_NOW)  # type: ignore[arg-type]  # what is linked in
    prctl = Call(_ctypes.dlsym(here, "prctl"))
    for option in (CHILD_SUBREAPER, NO_NEW_PRIVILEGES):
        if prctl(option, 1, 0, 0, 0):
            raise OSError(_ctypes.get_errno(), "prctl")
    child = os.fork()
    if child == 0:
        become(command, place)
    hush(place)
    return watch(child, parent, grace)


def become(command: str, place: int) -> None:
    """The command, in a session of its own, in the directory behind the descriptor `place`."""
    os.setsid()
    os.umask(0o077)
    os.fchdir(place)
    os.close(place)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    most = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    for ignored in (signal.SIGPIPE, signal.SIGXFSZ):  # Python does not let them end it
        signal.signal(ignored, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.execv("/bin/sh", ["sh", "-c", command])  # noqa: S606 - the shell is the point


def hush(place: int) -> None:
    """Hold nothing open that others wait for the end of."""
    os.close(place)
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    os.close(nothing)


def watch(child: int, parent: int, grace: float) -> int:
    """Until nothing is left below us."""
    code: int | None = None
    end = None  # when all of it is killed, in monotonic seconds
    while True:
        try:
            while (dead := os.waitpid(-1, os.WNOHANG))[0]:
                if dead[0] == child:
                    code = os.waitstatus_to_exitcode(dead[1])
        except ChildProcessError:
            return 128 - code if code is not None and code < 0 else code or 0
        if os.getppid() != parent or (code is not None and end is None):
            end = 0.0
        late = end is not None and time.monotonic() >= end
        if late:
            strike(child, signal.SIGKILL)
        wait = BEAT if late else LOOK if end is None else min(LOOK, end - time.monotonic())
        heard = signal.sigtimedwait(HEARD, max(wait, 0))
        if heard is None or heard.si_signo == signal.SIGCHLD:
            continue
        if heard.si_signo == signal.SIGUSR1:
            end = 0.0
        elif end is None:
            end = time.monotonic() + grace
            strike(child, heard.si_signo)


def strike(child: int, number: int) -> None:
    """Send a signal to everything below us. Whoever forks meanwhile is met by the next blow."""
    for pid in below(os.getpid()) or [child]:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            continue


def below(pid: int) -> list[int]:
    """All descendants, the nearest first."""
    found = [pid]
    for parent in found:
        try:
            for task in os.listdir(f"/proc/{parent}/task"):
                with open(f"/proc/{parent}/task/{task}/children") as children:
                    found += map(int, children.read().split())
        except OSError:  # it is gone
            continue
    return found[1:]


if __name__ == "__main__":
    os._exit(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), sys.argv[4]))
