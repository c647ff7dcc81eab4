# What ordinary programs pay, in processor time of their own: bare and under everwrite run with a live
# coordinator, seven pairs each, the order within a pair changing. And what it adds to starting a program.
compile exec_loop
mkdir "$place/origin"
# Sources of some kind: what cargo has fetched to build this.
fetched=("${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/)
(cd "${fetched[0]}" && tar -cf "$place/source.tar" tokio-1* regex-* rustix-* libc-*)
git -C "$place/origin" init -q
tar -C "$place/origin" -xf "$place/source.tar"
git -C "$place/origin" add -A
git -C "$place/origin" -c user.name=bench -c user.email=bench@example.org commit -qm all
awk 'BEGIN { print "create table t (a integer primary key, b text);"
  for (i = 0; i < 10000; i++) print "begin; insert into t (b) values (hex(randomblob(50))); commit;" }' >"$place/load.sql"
printf '[package]\nname = "small"\nversion = "0.1.0"\nedition = "2021"\n' >"$place/manifest"
# A database to be copied, where PostgreSQL is installed. It does not run as root.
postgresql=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1)
as_postgres() { if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi; }
with_postgresql() { as_postgres env PATH="$postgresql:$PATH" PGHOST="$PWD" bash -ec "$1"; }
make_cluster() {
  mkdir "$place/database"
  [ "$(id -u)" != 0 ] || { chmod 711 "$place" "$tree" "$EVERWRITE_HOME"; chown postgres "$place/database"; }
  cd "$place/database"
  with_postgresql 'initdb -D data -A trust -U bench >/dev/null
    pg_ctl -D data -o "-k $PWD -c listen_addresses=" -w -l log start
    pgbench -q -i -s 5 -U bench postgres; pg_ctl -D data -m fast -w stop' >/dev/null 2>&1
}
export -f as_postgres with_postgresql
export postgresql
[ -z "$postgresql" ] || (make_cluster) || fail "no PostgreSQL cluster could be made"
without_witness
protect_tree

# Each works in a fresh directory below the tree.
tar_x() { tar -xf "$place/source.tar"; }
git_checkout() { git clone -q "$place/origin" clone; }
sqlite_load() { sqlite3 db "pragma synchronous = off;" ".read $place/load.sql" >/dev/null; }
cargo_build() {
  mkdir -p small/src && cp "$place/manifest" small/Cargo.toml && echo 'fn main() { println!("{}", 6 * 7) }' >small/src/main.rs
  cd small && CARGO_TARGET_DIR=target cargo build --offline --quiet
}
# The server is a child like the others, so that its time counts.
pgbench_run() {
  [ "$(id -u)" != 0 ] || chown postgres .
  with_postgresql 'cp -a "$place/database/data" data; chmod 700 data
    postgres -D data -k "$PWD" -c listen_addresses= 2>log & until pg_isready -q; do sleep 0.05; done
    pgbench -n -c 2 -t 2000 -U bench postgres >/dev/null; pg_ctl -D data -m fast -w stop >/dev/null; wait'
}
export place
export -f pgbench_run tar_x git_checkout sqlite_load cargo_build

# Prints user and system time of a command in milliseconds.
cpu_of() {
  local directory
  directory=$(mktemp -d "$tree/work.XXXXXX")
  TIMEFORMAT='%U %S'
  { time { (cd "$directory" && "$@") 2>/dev/null; }; } 2>&1 | awk '{ printf "%d\n", ($1 + $2) * 1000 }'
  rm -rf "$directory"
}
bare() { cpu_of bash -c "$1"; }
# The launcher's own time is not the program's.
shimmed() { cpu_of env LD_PRELOAD="$EVERWRITE_SHIM" EVERWRITE_RUN="$EVERWRITE_HOME/run" bash -c "$1"; }

works=(tar_x git_checkout sqlite_load cargo_build)
[ -z "$postgresql" ] || works+=(pgbench_run)
for work in "${works[@]}"; do
  (mkdir "$place/first" && cd "$place/first" && bash -c $work && rm -rf "$place/first") || fail "$work does not work"
  for pair in 1 2 3 4 5 6 7; do
    if [ $((pair % 2)) = 0 ]; then b=$(bare $work) s=$(shimmed $work); else s=$(shimmed $work) b=$(bare $work); fi
    echo "$b $s"
  done | awk '{ print $2 / $1, $1, $2 }' | sort -n >"$place/ratios"
  figure "$work" "$(awk 'NR == 4 { printf "median ratio %.3f (%d and %d ms)", $1, $2, $3 }' "$place/ratios") (at most 1.03)"
done
added=$(LD_PRELOAD=$EVERWRITE_SHIM EVERWRITE_RUN=$EVERWRITE_HOME/run "$place/exec_loop" 1000)
figure "added to starting /bin/true" "$added microseconds (at most 60)"
everwrite sync --applied --timeout 120s >/dev/null
assert_mirrored
