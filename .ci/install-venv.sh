#!/bin/sh
# Debian's python3 comes without venv. Install it when we may; say how when we may not.
set -eu
python=$1
version=$("$python" -c 'import sys; print(f"{sys.version_info[0]}.{sys.version_info[1]}")')
package="python$version-venv"
if [ "$(id -u)" = 0 ]; then sudo=""; elif sudo -n true 2>/dev/null; then sudo="sudo -n"; else sudo="no"; fi
if [ "$sudo" = no ] || ! command -v apt-get >/dev/null; then
  echo "Python's venv module is missing. Install it, on Debian with: apt-get install $package" >&2
  exit 1
fi
$sudo apt-get update -qq
$sudo apt-get install -y -qq "$package" >/dev/null
