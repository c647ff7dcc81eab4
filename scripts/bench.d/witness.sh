# What programs without the shim pay for being heard by the kernel, what the coordinator can take, and what it
# costs at rest. The switch puts the programs into the kernel and takes them out again.
compile pwrite_loop
compile small_files
files=200000
head -c 64M /dev/zero >"$place/outside"
head -c 64M /dev/zero >"$tree/file"
protect_tree
witness_is() { [ "$(status_of "['capture']['ebpf']['state']")" = "$1" ]; }
until_true "the witness" 30 witness_is on

turn() {
  everwrite "$1" >/dev/null 2>&1 || true
  until_true "turning it $1" 30 witness_is "$1"
  [ "$1" = off ] || until_true "after turning it on" 600 is_continuous
}
loop() { "$place/pwrite_loop" "$1" 200000; }
ratio() {
  local file=$1 pair bare heard
  loop "$file" >/dev/null
  for pair in 1 2 3 4 5 6 7 8 9; do
    turn off; bare=$(loop "$file"); turn on; heard=$(loop "$file")
    everwrite sync --timeout 600s >/dev/null
    echo "$bare $heard"
  done | awk '{ print $2 / $1, $1, $2 }' | sort -n >"$place/ratios"
  awk 'NR == 5 { printf "%.3f (%.0f ns to %.0f ns)", $1, $2, $3 }' "$place/ratios"
}
command_is "pwrite_loop FILE 200000 with the programs out of the kernel and in it, 9 pairs, medians"
figure "unprotected file, same file system" "$(ratio "$place/outside") (at most 1.25)"
figure "protected file" "$(ratio "$tree/file") (at most 1.65)"

command_is "pwrite_loop FILE 2000000"
told() { status_of "['capture']['ebpf']['hints']"; }
before=$(told) drops=$(status_of "['capture']['ebpf']['drops']") start=$EPOCHREALTIME
"$place/pwrite_loop" "$tree/file" 2000000 >/dev/null
seconds=$(awk "BEGIN { print $EPOCHREALTIME - $start }")
everwrite sync --timeout 600s >/dev/null
figure "events a second" "$(awk "BEGIN { printf \"%d\", ($(told) - $before) / $seconds }") (200,000 asked)"
figure "files of which events were dropped" "$(($(status_of "['capture']['ebpf']['drops']") - drops))"

coordinator=/proc/$(<"$EVERWRITE_HOME/everwrite-coordinatord.pid")
# Processor time so far, in milliseconds.
cpu() { awk -v tick="$(getconf CLK_TCK)" '{ print ($14 + $15) * 1000 / tick }' "$coordinator/stat"; }
command_is "$files files of one name each; at rest for 60 s; everwrite reconcile"
"$place/small_files" "$tree" 100 # a hundred with content, so that there is a directory to copy
for ((i = 0; i < files / 1000; i++)); do mkdir "$tree/n$i"; (cd "$tree/n$i" && seq 1000 | xargs touch); done
until_true "the copy" 1800 is_continuous
everwrite sync --applied --timeout 1800s >/dev/null
# The first scan after all that is not rest.
everwrite reconcile >/dev/null
before=$(cpu)
sleep 60
figure "at rest" "$(awk "BEGIN { printf \"%.2f\", ($(cpu) - $before) / 600 }") % of a core (at most 0.5)"
before=$(cpu)
echo 5 >"$coordinator/clear_refs" # the most from now on
everwrite reconcile >/dev/null
figure "comparing $files unchanged files" "$(awk "BEGIN { printf \"%.2f\", ($(cpu) - $before) / 1000 }") s of processor time (at most 3)"
figure "memory" "$(awk '/VmRSS/ { printf "%d MiB", $2 / 1024 }' "$coordinator/status"), most while comparing $(awk '/VmHWM/ { printf "%d MiB", $2 / 1024 }' "$coordinator/status") (at most 100)"
assert_mirrored
