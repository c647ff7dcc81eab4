# What the scripts share; sourced from the top of the repository.
target=${CARGO_TARGET_DIR:-$PWD/target}
# Builds stay at two jobs: a fat link of more at once takes memory that small machines lack.
jobs=2

# The eBPF witness is in every build for which there is what it takes to compile it.
witness=()
if command -v clang >/dev/null && [ -e /usr/include/libelf.h ] && [ -e /usr/include/zlib.h ]; then
  witness=(--features everwrite-coordinatord/ebpf)
fi

say() { printf '%s: %s\n' "${0##*/}" "$*"; }
fail() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# Prints the cargo-deny to use: the one that scripts/setup installed, or that of the machine.
cargo_deny() {
  local deny
  for deny in "$target/tools/bin/cargo-deny" "$(command -v cargo-deny || true)"; do
    [ -x "$deny" ] && echo "$deny" && return
  done
  return 1
}
