# Runs a receiver and a coordinator under one home, for scripts that try and measure Everwrite.
# Sourced after common.sh; wants EVERWRITE_HOME in the environment.
bin=$target/release
export EVERWRITE_SHIM=$target/shim/libeverwrite_shim.so
# Unix sockets lie below the home: their paths have 108 bytes.
[ ${#EVERWRITE_HOME} -le 80 ] || fail "the path $EVERWRITE_HOME is too long for the sockets in it; set EVERWRITE_HOME to a shorter one"

everwrite() { "$bin/everwrite" "$@"; }
store=$EVERWRITE_HOME/store
logs=$EVERWRITE_HOME/logs

# Is the daemon of this pid file running? The number may belong to another program by now.
is_running() {
  [ -s "$EVERWRITE_HOME/$1.pid" ] && [ "$(readlink "/proc/$(<"$EVERWRITE_HOME/$1.pid")/exe")" = "$(realpath "$bin/$1")" ]
} 2>/dev/null

# Has what was just launched not ended? It may not be the daemon's program yet.
is_alive() { kill -0 "$(<"$EVERWRITE_HOME/$1.pid")"; } 2>/dev/null

# Starts a daemon that outlives this script: launch NAME ARGUMENTS...
launch() {
  local name=$1
  shift
  mkdir -p "$logs"
  setsid nohup "$bin/$name" "$@" </dev/null >"$logs/$name.out" 2>>"$logs/$name.log" &
  echo $! >"$EVERWRITE_HOME/$name.pid"
}

# Waits for a condition, with a deadline: until_true WHAT SECONDS COMMAND...
until_true() {
  local what=$1 end=$((SECONDS + $2))
  shift 2
  until "$@"; do
    [ $SECONDS -lt $end ] || fail "$what: not in time; the logs are in $logs"
    sleep 0.05
  done
}

# The receiver keeps the address that it was given first: the source is paired with it.
start_receiver() {
  is_running everwrite-receiver && return
  local address=$EVERWRITE_HOME/receiver.address
  launch everwrite-receiver serve --store "$store" --listen "$(cat "$address" 2>/dev/null || echo 127.0.0.1:0)"
  until_true "starting the receiver" 20 receiver_listens
  sed -n '1s/^listening on //p' "$logs/everwrite-receiver.out" >"$address"
}
receiver_listens() {
  is_alive everwrite-receiver || fail "the receiver ended: $(tail -n 3 "$logs/everwrite-receiver.log")"
  grep -qs '^listening on ' "$logs/everwrite-receiver.out"
}

start_coordinator() {
  is_running everwrite-coordinatord && return
  launch everwrite-coordinatord
  until_true "starting the coordinator" 20 coordinator_answers
}
coordinator_answers() {
  is_alive everwrite-coordinatord || fail "the coordinator ended: $(tail -n 3 "$logs/everwrite-coordinatord.log")"
  everwrite status >/dev/null 2>&1 || [ $? = 1 ]
}

pair_once() {
  grep -qs fingerprint "$EVERWRITE_HOME/config.toml" && return
  everwrite pair "$("$bin/everwrite-receiver" pair --store "$store")"
}

# Ends a daemon politely; waits until it is gone.
stop() {
  is_running "$1" || return 0
  kill "$(<"$EVERWRITE_HOME/$1.pid")"
  until_true "stopping $1" 30 is_gone "$1"
}
is_gone() { ! is_running "$1"; }
stop_all() { stop everwrite-coordinatord; stop everwrite-receiver; }

# One value of `everwrite status --json`: status_of "['roots'][0]['files']"
status_of() {
  # Its exit code says whether all is well, which is not what is asked.
  { everwrite status --json || true; } | python3 -c "import json, sys; print(json.load(sys.stdin)$1)"
}
