# What the benchmarks share; sourced with a place, a home, an empty tree and the daemons' functions.

# Starts both daemons, protects the tree, waits until it is copied.
protect_tree() {
  start_receiver
  start_coordinator
  pair_once >/dev/null 2>&1
  everwrite protect "$tree" --name tree >/dev/null 2>&1
  until_true "the first copy" 1800 is_continuous
  everwrite sync --applied --timeout 1800s >/dev/null
}
is_continuous() { everwrite status >/dev/null 2>&1; }

# What the shim costs is measured without what the witness costs.
without_witness() { echo 'witness.enabled = false' >"$EVERWRITE_HOME/config.toml"; }

# Counters of the line to the receiver.
bytes_sent() { status_of "['uplinks'][0]['bytes_sent']"; }
bytes_read() { status_of "['uplinks'][0]['bytes_read']"; }
mark() { sent_before=$(bytes_sent) read_before=$(bytes_read); }
report_bytes() {
  figure "read by the coordinator" "$(($(bytes_read) - read_before)) bytes"
  figure "sent" "$(($(bytes_sent) - sent_before)) bytes"
}

# Runs a command, prints what it took in seconds.
timed() {
  local start=$EPOCHREALTIME
  "$@" >/dev/null
  awk "BEGIN { printf \"%.3f\", $EPOCHREALTIME - $start }"
}
figure() { printf '  %-42s %s\n' "$1" "$2"; }
command_is() { printf '  $ %s\n' "$1"; }

mirror_of_tree() {
  local id
  id=$("$bin/everwrite-receiver" sources --store "$store" --json | python3 -c "import json, sys; print(json.load(sys.stdin)[0]['source'])")
  "$bin/everwrite-receiver" mirror --store "$store" --source "$id" --root tree
}
assert_mirrored() {
  local differences
  differences=$(rsync -aHAXn --checksum --delete --itemize-changes "$tree/" "$(mirror_of_tree)/")
  [ -z "$differences" ] || fail "the mirror differs: $(head -n 5 <<<"$differences")"
  figure "mirror equal to the tree (rsync --checksum)" yes
}

# Compiles one of the C programs beside this file.
compile() { cc -O2 -o "$place/$1" "scripts/bench.d/$1.c"; }
