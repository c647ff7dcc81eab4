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
export place
export -f tar_x git_checkout sqlite_load cargo_build

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

for work in tar_x git_checkout sqlite_load cargo_build; do
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
