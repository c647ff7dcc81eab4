# What all programs of the machine pay while a root is on a file system without hooks of its own (here one in memory),
# so that the ends of system calls are heard; and what that spares. Ratios are of pairs taken side by side.
compile pwrite_loop
compile call_loop
mkdir "$place/disk"
mount -t tmpfs -o size=512m tmpfs "$place/disk"
trap 'stop_all; umount --lazy "$place/disk"; rm -rf "$place"' EXIT
tree=$place/disk/tree
mkdir "$tree"
head -c 64M /dev/zero >"$tree/file"
head -c 64M /dev/zero >"$place/disk/outside"
head -c 64M /dev/zero >"$place/elsewhere"
echo 'witness.calls = true' >"$EVERWRITE_HOME/config.toml"
protect_tree
calls_are() { [ "$(status_of "['capture']['ebpf']['calls']")" = "$1" ]; }
until_true "hearing calls" 30 calls_are True

turn() {
  everwrite "$1" >/dev/null 2>&1 || true
  if [ "$1" = on ]; then until_true "turning it on" 30 calls_are True; until_true "after turning it on" 600 is_continuous
  else until_true "turning it off" 30 calls_are False; fi
}
ratio() {
  local pair bare heard
  "$@" >/dev/null
  for pair in 1 2 3 4 5; do
    turn off; bare=$("$@"); turn on; heard=$("$@")
    everwrite sync --timeout 600s >/dev/null
    echo "$bare $heard"
  done | awk '{ print $2 / $1, $1, $2 }' | sort -n >"$place/ratios"
  awk 'NR == 3 { printf "%.3f (%.0f ns to %.0f ns)", $1, $2, $3 }' "$place/ratios"
}
loop() { "$place/pwrite_loop" "$1" 200000; }
command_is "pwrite_loop FILE 200000, call_loop 2000000, with nothing in the kernel and with calls heard, 5 pairs, medians"
figure "protected file" "$(ratio loop "$tree/file")"
figure "unprotected file, same file system" "$(ratio loop "$place/disk/outside")"
figure "file on another file system" "$(ratio loop "$place/elsewhere")"
figure "getppid(2)" "$(ratio "$place/call_loop" 2000000)"

command_is "64 pwrites of 4 KiB in a file of 64 MiB"
everwrite sync --timeout 600s >/dev/null
mark
"$place/pwrite_loop" "$tree/file" 64 >/dev/null
everwrite sync --timeout 600s >/dev/null
report_bytes
