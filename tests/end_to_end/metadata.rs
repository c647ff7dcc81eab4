//! Everything about a file that is not its content, and content that is not there: holes.

use harness::{Pair, shell, tree};

/// One of everything. What only root can make is left out for others.
const ONE_OF_EACH: &str = r#"
    seq 100 > file; chmod 4751 file; touch -d '1999-12-31 23:59:59.987654321' file
    mkdir dir sticky private; chmod 1777 sticky; chmod 700 private; echo x > private/x
    ln file hard-1; mkdir -p deep/er; ln file deep/er/hard-2
    ln -s file relative; ln -s /nowhere/at/all dangling; ln -s dir to-dir; touch -hd @1000000000.5 relative
    mkfifo fifo; python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("socket")'
    setfattr -n user.colour -v blue file; setfattr -n user.empty dir
    setfattr -n user.large -v "$(head -c 2000 /dev/zero | tr '\0' x)" private/x
    setfacl -m u:1:rw,g:2:r private/x; setfacl -d -m u:3:rwx dir
    truncate -s 64M sparse; printf end | dd of=sparse bs=1 seek=33554432 conv=notrunc status=none
    truncate -s 1M all-hole; : > empty
    if [ $(id -u) = 0 ]; then
        mknod device c 1 3; mknod block b 7 99
        echo o > owned; chown 12:34 owned; chown -h 56:78 dangling
        cp /bin/true capable; setcap cap_net_raw+ep capable 2>/dev/null || true
    fi
    touch -d '2005-05-05 05:05:05.000000005' dir deep/er deep
"#;

/// Changes every kind of attribute of what is there.
const CHANGE_EACH: &str = r#"
    chmod 640 file; chmod 755 sticky; touch -d '2011-11-11 11:11:11.111111111' dir hard-1
    setfattr -n user.colour -v red file; setfattr -x user.empty dir; setfattr -n user.new -v 1 sticky
    setfacl -m u:5:r private/x; setfacl -x g:2 private/x; setfacl -k dir
    ln -sfn sticky to-dir; rm hard-1; ln fifo fifo-2; touch -hd @1 dangling
    fallocate --punch-hole --offset 33550336 --length 8192 sparse; truncate -s 32M all-hole
    printf x | dd of=all-hole bs=1 seek=9999999 conv=notrunc status=none
    if [ $(id -u) = 0 ]; then chown 1:2 file dir; chown -h 3:4 relative; chown 0:0 owned; fi
"#;

#[test]
fn one_of_each_before_and_after() {
    let pair = Pair::start_with(|tree| {
        shell(tree, "mkdir before");
        shell(&tree.join("before"), ONE_OF_EACH);
    });
    pair.assert_mirrored();
    pair.run(&format!("mkdir after; cd after\n{ONE_OF_EACH}"));
    pair.assert_mirrored();
    pair.source
        .everwrite(["checkpoint", "one-of-each"])
        .success();
    let copy = tree::copy_of(&pair.tree, &pair.place.path().join("copy"));

    for directory in ["before", "after"] {
        pair.run(&format!("cd {directory}\n{CHANGE_EACH}"));
        pair.assert_mirrored();
    }
    pair.assert_restores("one-of-each", &copy);
}

#[test]
fn holes_stay_holes() {
    let pair = Pair::start();
    pair.run(
        "truncate -s 1G huge; printf x | dd of=huge bs=1 seek=500000000 conv=notrunc status=none",
    );
    pair.run(
        "head -c 8M /dev/urandom > punched; fallocate --punch-hole --offset 1M --length 4M punched",
    );
    pair.assert_mirrored();
    for (name, at_most) in [("huge", 1 << 20), ("punched", (4 << 20) + (1 << 17))] {
        let allocated = tree::allocated_bytes(&pair.mirror().join(name));
        assert!(
            allocated <= at_most,
            "{name} takes {allocated} bytes in the mirror"
        );
    }
    assert!(
        pair.source.status().uplink.bytes_sent < 16 << 20,
        "holes are not sent"
    );
}
