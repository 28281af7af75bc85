#!/bin/sh
# A worker for tests. Says what stands in the file `says` beside it, keeps what it is told in
# `told.PID`, and ends when the server closes the socket.
here=$(dirname "$0")
cat "$here/says" >&0
echo $$ >>"$here/pids"
exec cat >"$here/told.$$"
