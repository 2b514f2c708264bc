#!/bin/sh
# install_config.sh FILE DIR: puts FILE into DESTDIR/DIR. One that is there and differs is left alone; the new
# one then lies beside it as .new.
set -eu
to=${DESTDIR:-}$2
mkdir -p "$to"
name=$to/$(basename "$1")
if [ -e "$name" ] && ! cmp -s "$1" "$name"; then
  name=$name.new
fi
install -m 0644 "$1" "$name"
