# 100 random 4 KiB pwrites into a stored 4 GiB file: what is read and sent, and how soon it is stored.
compile random_pwrites
head -c 4G /dev/urandom >"$tree/file"
protect_tree
mark
command_is "everwrite run -- random_pwrites file 100 4096; everwrite sync"
everwrite run -- "$place/random_pwrites" "$tree/file" 100 4096
figure "sync after the last" "$(timed everwrite sync) s (at most 1)"
report_bytes
figure "bounds" "6553600 bytes read, 1048576 bytes sent"
everwrite sync --applied >/dev/null
assert_mirrored
