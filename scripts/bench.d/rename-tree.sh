# mv of a directory with 20,000 files.
mkdir "$tree/old"
for part in $(seq 200); do
  mkdir "$tree/old/$part"
  (cd "$tree/old/$part" && seq 2000 | split -l 20 -a 3 -)
done
[ "$(find "$tree/old" -type f | wc -l)" = 20000 ] || fail "the tree should have 20,000 files"
protect_tree
mark
command_is "everwrite run -- mv old new; everwrite sync; everwrite sync --applied"
everwrite run -- mv "$tree/old" "$tree/new"
figure "sync" "$(timed everwrite sync) s"
figure "then until the mirror is equal" "$(timed everwrite sync --applied) s (at most 1)"
report_bytes
figure "bound" "65536 bytes sent"
assert_mirrored
