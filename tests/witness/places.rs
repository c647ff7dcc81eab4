//! Where files are: other file systems, mounts below a root.

use std::path::PathBuf;
use std::process::Command;

use harness::{Place, run, skip};

use crate::scene::{
    Steps, TREE, all_was_heard, is_witnessed, protecting, soon_mirrored, witnessed, writer, writing,
};

/// A file system of its own on a loop device, mounted until dropped.
struct Disk {
    place: Place,
}

impl Disk {
    /// `None`, which is said, where that can't be had.
    fn mount(test: &str, kind: &str, mebibytes: u32) -> Option<Self> {
        let place = Place::new();
        place.directory("disk");
        let script = format!(
            "truncate -s {mebibytes}M image && mkfs.{kind} -q image && mount -o loop image disk"
        );
        let made = run(Command::new("sh")
            .args(["-ec", &script])
            .current_dir(place.path()));
        if made.code == Some(0) {
            return Some(Self { place });
        }
        skip(
            test,
            &format!("no {kind} of its own: {}", made.stderr.trim()),
        );
        None
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        run(Command::new("umount")
            .arg("--lazy")
            .arg(self.place.path().join("disk")));
    }
}

fn everything_is_heard_on(test: &str, kind: &str, mebibytes: u32) {
    let Some(disk) = Disk::mount(test, kind, mebibytes) else {
        return;
    };
    let tree = disk.place.path().join("disk/tree");
    std::fs::create_dir(&tree).expect("make the tree");
    harness::shell(&tree, TREE);
    let pair = protecting(Place::new(), tree);
    if !is_witnessed(test, &pair) {
        return;
    }
    run(&mut writing(&pair, &["changes"])).success();
    run(&mut writing(&pair, &["append", "append", "1000"])).success();
    all_was_heard(&pair);
}

#[test]
fn xfs() {
    everything_is_heard_on("xfs", "xfs", 320);
}

#[test]
fn btrfs() {
    everything_is_heard_on("btrfs", "btrfs", 160);
}

#[test]
fn ext4_that_journals_data() {
    let test = "ext4_that_journals_data";
    let Some(disk) = Disk::mount(test, "ext4", 64) else {
        return;
    };
    let script = "umount disk && mount -o loop,data=journal image disk && mkdir disk/tree";
    run(Command::new("sh")
        .args(["-ec", script])
        .current_dir(disk.place.path()))
    .success();
    let tree = disk.place.path().join("disk/tree");
    harness::shell(&tree, TREE);
    let pair = protecting(Place::new(), tree);
    if !is_witnessed(test, &pair) {
        return;
    }
    run(&mut writing(&pair, &["changes"])).success();
    all_was_heard(&pair);
}

/// What is mounted below a root is another tree to the kernel.
#[test]
fn a_mount_below_the_root() {
    let test = "a_mount_below_the_root";
    let Some(disk) = Disk::mount(test, "ext4", 64) else {
        return;
    };
    let Some(pair) = witnessed(test, "mkdir mounted; echo x > file") else {
        return;
    };
    let mounted = pair.tree.join("mounted");
    let from = disk.place.path().join("disk");
    let bind = |command: &mut Command| run(command).success();
    bind(Command::new("mount").arg("--bind").arg(&from).arg(&mounted));
    let _unmounted = Unmount(mounted.clone());
    harness::shell(&mounted, "cp ../file held; ls");
    soon_mirrored(&pair);
    let mut holder = Command::new(writer());
    let mut holder = Steps::start(holder.args(["hold", "held"]).current_dir(&mounted));
    holder.next();
    soon_mirrored(&pair);
    holder.finish();
}

/// A subvolume has an inode table of its own, in the same file system.
#[test]
fn btrfs_subvolumes() {
    let test = "btrfs_subvolumes";
    let Some(disk) = Disk::mount(test, "btrfs", 160) else {
        return;
    };
    let tree = disk.place.path().join("disk/tree");
    let script =
        "mkdir tree; btrfs -q subvolume create beside; btrfs -q subvolume create tree/nested";
    run(Command::new("sh")
        .args(["-ec", script])
        .current_dir(disk.place.path().join("disk")))
    .success();
    for below in [".", "nested", "../beside"] {
        harness::shell(&tree.join(below), TREE);
    }
    let pair = protecting(Place::new(), tree);
    if !is_witnessed(test, &pair) {
        return;
    }
    for below in [".", "nested", "../beside"] {
        let mut command = writing(&pair, &["append", "append", "100"]);
        run(command.current_dir(pair.tree.join(below))).success();
    }
    all_was_heard(&pair);
}

/// Where fanotify can't tell which file it is, that is said, and scans find what changed.
#[track_caller]
fn is_said_not_to_be_heard(place: Place, tree: PathBuf) {
    let pair = protecting(place, tree);
    let names = harness::wait_for("the witness says how it stands", harness::DEADLINE, || {
        let names = pair.source.status().capture.names;
        (names.state != "off").then_some(names)
    });
    assert!(!names.reason.is_empty() && names.state != "on", "{names:?}");
    run(&mut writing(&pair, &["append", "append", "100"])).success();
    pair.assert_mirrored();
}

/// A file system mark wants the file system's own top.
#[test]
fn a_root_in_a_btrfs_subvolume_is_said_not_to_be_heard() {
    let test = "a_root_in_a_btrfs_subvolume_is_said_not_to_be_heard";
    let Some(disk) = Disk::mount(test, "btrfs", 160) else {
        return;
    };
    let tree = disk.place.path().join("disk/tree");
    run(Command::new("btrfs")
        .args(["-q", "subvolume", "create"])
        .arg(&tree))
    .success();
    harness::shell(&tree, TREE);
    is_said_not_to_be_heard(Place::new(), tree);
}

#[test]
fn overlayfs_is_said_not_to_be_heard() {
    let test = "overlayfs_is_said_not_to_be_heard";
    let place = Place::new();
    for name in ["lower", "upper", "work", "merged"] {
        place.directory(name);
    }
    harness::shell(&place.path().join("lower"), TREE);
    let script = "mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work overlay merged";
    let mounted = run(Command::new("sh")
        .args(["-ec", script])
        .current_dir(place.path()));
    if mounted.code != Some(0) {
        return skip(test, &mounted.stderr);
    }
    let tree = place.path().join("merged");
    let _unmounted = Unmount(tree.clone());
    is_said_not_to_be_heard(place, tree);
}

/// Being watched keeps no disk from being unmounted; its root halts then.
#[test]
fn a_disk_that_is_watched_can_be_unmounted() {
    let test = "a_disk_that_is_watched_can_be_unmounted";
    let Some(disk) = Disk::mount(test, "ext4", 64) else {
        return;
    };
    let tree = disk.place.path().join("disk");
    harness::shell(&tree, TREE);
    let pair = protecting(Place::new(), tree.clone());
    if !is_witnessed(test, &pair) {
        return;
    }
    pair.source.settle();
    // A look that is under way may hold it for a moment.
    harness::wait_until("it is unmounted", || {
        run(Command::new("umount").arg(&tree)).code == Some(0)
    });
    pair.source
        .wait_state(everwrite_protocol::control::State::Error);
}

/// Unmounts when dropped.
struct Unmount(PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        run(Command::new("umount").arg("--lazy").arg(&self.0));
    }
}
