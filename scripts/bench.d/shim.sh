# What a program pays: a loop of 4 KiB pwrites into a protected file under the shim with a live coordinator,
# against the same without: the median ratio of nine pairs, the order within a pair changing.
compile pwrite_loop
head -c 64M /dev/zero >"$tree/file"
without_witness
protect_tree
command_is "pwrite_loop file 200000, bare and under everwrite run, 9 pairs"
bare() { "$place/pwrite_loop" "$tree/file" 200000; }
shimmed() { everwrite run -- "$place/pwrite_loop" "$tree/file" 200000; }
bare >/dev/null
shimmed >/dev/null
for pair in 1 2 3 4 5 6 7 8 9; do
  if [ $((pair % 2)) = 0 ]; then b=$(bare) s=$(shimmed); else s=$(shimmed) b=$(bare); fi
  printf '%s %s\n' "$b" "$s"
  everwrite sync --timeout 60s >/dev/null
done | awk '{ print $2 / $1, $1, $2 }' | sort -n >"$place/ratios"
awk '{ printf "  pair: ratio %.3f, bare %.0f ns, under the shim %.0f ns a call\n", $1, $2, $3 }' "$place/ratios"
figure "median ratio" "$(awk 'NR == 5 { printf "%.3f", $1 }' "$place/ratios") (at most 1.10)"
everwrite sync --applied --timeout 60s >/dev/null
assert_mirrored
