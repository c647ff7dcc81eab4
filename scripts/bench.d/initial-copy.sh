# First copy of 50,000 small files, against `rsync -a` to a daemon on loopback: three runs of each, in turn.
compile small_files
"$place/small_files" "$tree" 50000
figure "tree" "$(find "$tree" -type f | wc -l) files, $(du -sb "$tree" | cut -f 1) bytes"

mkdir "$place/rsync"
cat >"$place/rsyncd.conf" <<CONF
use chroot = no
port = 0
[copy]
path = $place/rsync
read only = no
uid = $(id -u)
gid = $(id -g)
CONF
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
rsync --daemon --no-detach --config="$place/rsyncd.conf" --address=127.0.0.1 --port="$port" &
rsync_daemon=$!
trap 'kill "$rsync_daemon"; stop_all; rm -rf "$place"' EXIT
rsync_answers() { rsync -q "rsync://127.0.0.1:$port/" 2>/dev/null; }
until_true "starting the rsync daemon" 10 rsync_answers
# Ends with everything on the disk, as Everwrite's acknowledgement does.
by_rsync() { rsync -a "$tree/" "rsync://127.0.0.1:$port/copy/" && sync -f "$place/rsync"; }
by_everwrite() {
  everwrite protect "$tree" --name tree >/dev/null 2>&1
  until_true "the first copy" 1800 is_continuous
  everwrite sync --timeout 1800s
}

command_is "rsync -a TREE/ rsync://127.0.0.1/copy/; everwrite protect TREE, until CONTINUOUS and sync"
for run in 1 2 3; do
  rm -rf "$place/rsync"/* "$EVERWRITE_HOME"/{state,run,store,config.toml}
  sync -f "$place"
  rsync_took=$(timed by_rsync)
  start_receiver
  start_coordinator
  pair_once >/dev/null 2>&1
  took=$(timed by_everwrite)
  peak=$(awk '/VmHWM/ { print $2 }' "/proc/$(<"$EVERWRITE_HOME/everwrite-coordinatord.pid")/status")
  figure "run $run: rsync, everwrite, ratio" "$rsync_took s, $took s, $(awk "BEGIN { printf \"%.2f\", $took / $rsync_took }") (at most 1.5)"
  figure "run $run: coordinator's peak memory" "$peak kB (at most 153600)"
  everwrite sync --applied --timeout 1800s >/dev/null
  [ "$run" != 3 ] || assert_mirrored
  stop_all
done
