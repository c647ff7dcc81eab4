# Crash-consistent recovery points: how many there are under load, for how long programs are made to wait for
# them, what that does to the lag, and what it costs a database. And what a remote-durable fsync takes.
#
# The lag is that of the oldest change in each batch, until the receiver writes the batch's end to its log (the
# fsync of the log comes after).
# Starts the coordinator anew with other settings, which come before the tables that it writes itself.
with_settings() {
  stop everwrite-coordinatord
  sed -i '/^cuts\./d; /^durable_fsync\./d' "$EVERWRITE_HOME/config.toml"
  printf '%s\n' "$@" | cat - "$EVERWRITE_HOME/config.toml" >"$place/config" && mv "$place/config" "$EVERWRITE_HOME/config.toml"
  start_coordinator
  until_true "the coordinator is up again" 120 is_continuous
}
cut_figure() { status_of "['uplinks'][0]['cuts']['$1']"; }
newest_point() { everwrite points -n 1 --json | python3 -c "import json, sys; print(json.load(sys.stdin)[0]['point'])"; }
# Median and 99th percentile of the lag of the batches after one, in milliseconds.
lag_after() {
  everwrite sync --applied --timeout 60s >/dev/null
  python3 - "$store" "$1" <<'END'
import glob, sqlite3, sys
catalog, = glob.glob(sys.argv[1] + "/src/*/catalog.db")
cuts = sqlite3.connect(f"file:{catalog}?mode=ro", uri=True).execute(
    "SELECT (stored - oldest_change) / 1e6 FROM cut WHERE sequence > ? AND oldest_change < time", sys.argv[2:])
lags = sorted(lag for lag, in cuts)
print("%.1f %.1f" % (lags[len(lags) // 2], lags[int(len(lags) * 0.99)]))
END
}
as_root() { [ "$(id -u)" = 0 ] || { echo "SKIPPED: consistent points need the witness, which needs root"; return 1; }; }

as_root || return 0
touch "$EVERWRITE_HOME/config.toml"
protect_tree
mkdir "$tree/load"
command_is "1,000 changes of 4 KiB a second for 10 s, by a program with the shim; cuts.interval_ms, or no holds"
printf '  %-10s %10s %8s %22s %16s %24s\n' interval consistent held "hold p50/p99/max us" "lag p50/p99 ms" "call p50/p99/max us"
for interval in none 5 20 50 200 1000; do
  case $interval in
  none) with_settings "cuts.hold_ms_max = 0" "cuts.interval_ms = 60000" ;;
  *) with_settings "cuts.interval_ms = $interval" ;;
  esac
  everwrite run -- python3 scripts/bench.d/paced_writes.py "$tree/load" 1000 2 >/dev/null
  everwrite sync >/dev/null
  before=$(newest_point) consistent=$(cut_figure consistent) holds=$(cut_figure holds)
  calls=$(everwrite run -- python3 scripts/bench.d/paced_writes.py "$tree/load" 1000 10)
  printf '  %-10s %8s/s %8s %22s %16s %24s\n' "$interval" "$((($(cut_figure consistent) - consistent) / 10))" "$(($(cut_figure holds) - holds))" \
    "$(cut_figure hold_us_p50)/$(cut_figure hold_us_p99)/$(cut_figure hold_us_max)" "$(lag_after "$before" | tr ' ' /)" "$(cut -d ' ' -f 2- <<<"$calls" | tr ' ' /)"
done

postgresql=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1)
if [ -n "$postgresql" ]; then
  command_is "pgbench -c 2 -T 6 in the protected tree, with cuts as by default and without holds, in turns"
  chmod 711 "$place" "$tree" "$EVERWRITE_HOME"
  chmod 755 "$EVERWRITE_HOME/run"
  mkdir "$tree/pg" && chown postgres "$tree/pg"
  in_postgres() { runuser -u postgres -- env PATH="$postgresql:$PATH" PGHOST="$tree/pg" LD_PRELOAD="$EVERWRITE_SHIM" EVERWRITE_RUN="$EVERWRITE_HOME/run" bash -ec "cd '$tree/pg'; $1"; }
  in_postgres 'initdb -D data -A trust -U bench >/dev/null; pg_ctl -D data -o "-k $PWD -c listen_addresses=" -w -l log start >/dev/null; pgbench -q -i -s 5 -U bench postgres 2>/dev/null'
  tps() { in_postgres 'pgbench -n -c 2 -T 6 -U bench postgres 2>/dev/null' | sed -n 's/^tps = \([0-9]*\).*/\1/p'; }
  holds=0
  for turn in 1 2 3 4 5; do
    with_settings "cuts.hold_ms_max = 0" "cuts.interval_ms = 60000"
    without=$(tps)
    with_settings
    with=$(tps)
    holds=$((holds + $(cut_figure holds)))
    echo "$with $without $(cut_figure consistent) $(cut_figure hold_us_p99)"
  done | awk '{ printf "%.3f %d %d %d %d\n", $1 / $2, $1, $2, $3, $4 }' | sort -n >"$place/tps"
  figure "transactions per second, with / without" "$(awk 'NR == 3 { printf "median ratio %s (%d and %d)", $1, $2, $3 }' "$place/tps")"
  figure "consistent points in 6 s; hold p99" "$(awk '{ printf "%s%d (%d us)", (NR > 1 ? ", " : ""), $4, $5 }' "$place/tps")"
  in_postgres 'pg_ctl -D data -m fast -w stop >/dev/null'
fi

command_is "4 KiB and fdatasync, 100 times a second for 10 s, outside and in a root with --durable-fsync"
mkdir "$place/outside" "$place/durable"
everwrite protect "$place/durable" --name durable --durable-fsync --no-wait >/dev/null 2>&1
until_true "the second root" 60 is_continuous
for where in outside durable; do
  everwrite run -- python3 scripts/bench.d/paced_writes.py "$place/$where" 100 1 sync >/dev/null
  until_true "the files are stored" 60 everwrite sync >/dev/null
  read -r _ median high most < <(everwrite run -- python3 scripts/bench.d/paced_writes.py "$place/$where" 100 10 sync)
  figure "fdatasync, $where" "p50 $median, p99 $high, most $most us"
done
assert_mirrored
