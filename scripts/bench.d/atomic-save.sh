# An editor's save of a 50 MiB file with one byte inserted near its start.
head -c 50M /dev/urandom >"$tree/file"
protect_tree
mark
command_is "everwrite run -- save: write file.tmp = file with one byte inserted at 1000, fsync, rename over file"
everwrite run -- sh -ec '
  cd "$1"
  { head -c 1000 file; printf x; tail -c +1001 file; } >file.tmp
  sync file.tmp
  mv file.tmp file' save "$tree"
figure "sync" "$(timed everwrite sync --applied) s, mirror included"
report_bytes
figure "bound" "1048576 bytes sent"
assert_mirrored
