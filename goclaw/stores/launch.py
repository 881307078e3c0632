"""Becomes a PostgreSQL program that dies with its parent: `python -I -S launch.py PARENT PROGRAM ARG…`.

Run as a script of its own instead of a `preexec_fn`, which would run Python between fork and exec in a process
with threads. It starts in 10 ms and leaves nothing behind.

- As root it first enters a user namespace where it is 65534, because PostgreSQL refuses uid 0. Files stay the
  caller's, and nothing on the system changes (stack.md §4).
- Then it asks for SIGINT when the parent dies: for PostgreSQL a clean, fast stop. The order matters, entering
  the namespace clears the wish. The parent is the *thread* that forked.
"""

import ctypes
import os
import signal
import sys

NOBODY = 65534
CLONE_NEWUSER = 0x10000000
PR_SET_PDEATHSIG = 1


def main(parent: int, argv: list[str]) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if os.geteuid() == 0:
        if libc.unshare(CLONE_NEWUSER) != 0:
            why = os.strerror(ctypes.get_errno())
            sys.exit(f"root cannot enter a user namespace here ({why}); run GoClaw as an ordinary user")
        for name, text in (("setgroups", "deny"), ("uid_map", f"{NOBODY} 0 1"), ("gid_map", f"{NOBODY} 0 1")):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGINT)
    if os.getppid() != parent:  # it died before the wish was made
        sys.exit("the parent process is gone")
    os.execv(argv[0], argv)  # noqa: S606 - becoming another program is the point


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
