//! Where files are: other file systems, mounts below a root.

use std::path::PathBuf;
use std::process::Command;

use harness::{Place, run, skip};

use crate::scene::{
    Steps, TREE, all_was_heard, has_ebpf, is_witnessed, protecting, quiet, soon_mirrored,
    witnessed, writer, writing,
};

/// A file system of its own on a loop device, mounted until dropped.
pub(crate) struct Disk {
    pub(crate) place: Place,
}

impl Disk {
    /// `None`, which is said, where that can't be had.
    pub(crate) fn mount(test: &str, kind: &str, mebibytes: u32) -> Option<Self> {
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

/// As distributions have it: what is mounted is a subvolume, and the top of the file system nowhere.
#[test]
fn a_root_in_a_btrfs_subvolume() {
    let test = "a_root_in_a_btrfs_subvolume";
    let Some(disk) = Disk::mount(test, "btrfs", 160) else {
        return;
    };
    let script = "btrfs -q subvolume create disk/@; umount disk; mount -o loop,subvol=@ image disk
        mkdir disk/tree; btrfs -q subvolume create disk/tree/nested";
    run(Command::new("sh")
        .args(["-ec", script])
        .current_dir(disk.place.path()))
    .success();
    let tree = disk.place.path().join("disk/tree");
    for below in [".", "nested"] {
        harness::shell(&tree.join(below), TREE);
    }
    let pair = protecting(Place::new(), tree);
    if !is_witnessed(test, &pair) {
        return;
    }
    run(&mut writing(&pair, &["changes"])).success();
    // The same inode number as another file's in the subvolume above.
    let mut mapping = writing(&pair, &["map", "mapped"]);
    let mut mapping = Steps::start(mapping.current_dir(pair.tree.join("nested")));
    soon_mirrored(&pair);
    mapping.next();
    soon_mirrored(&pair);
    mapping.finish();
    all_was_heard(&pair);
}

/// An overlay of directories `lower` and `upper` at `merged`, unmounted when dropped. `place` is on a file system
/// that an upper directory may be on.
fn overlay(place: &std::path::Path) -> Result<Unmount, String> {
    for name in ["lower", "upper", "work", "merged"] {
        std::fs::create_dir(place.join(name)).expect("make a directory");
    }
    harness::shell(
        &place.join("lower"),
        format!("mkdir -p a/tree; cd a/tree; {TREE}"),
    );
    let options = ["lowerdir=", "upperdir=", "workdir="].map(|option| {
        let name = option.trim_end_matches("dir=");
        format!("{option}{}", place.join(name).display())
    });
    let mounted = run(Command::new("mount")
        .args(["-t", "overlay", "overlay", "-o"])
        .arg(format!("redirect_dir=on,{}", options.join(",")))
        .arg(place.join("merged")));
    match mounted.code {
        Some(0) => Ok(Unmount(place.join("merged"))),
        _ => Err(mounted.stderr),
    }
}

/// What containers see: a root in an overlay, in a directory that nobody has changed yet.
#[test]
fn overlayfs() {
    let test = "overlayfs";
    let Some(disk) = Disk::mount(test, "ext4", 64) else {
        return;
    };
    let place = disk.place.path().join("disk");
    let merged = match overlay(&place) {
        Ok(merged) => merged,
        Err(reason) => return skip(test, &reason),
    };
    let pair = protecting(Place::new(), merged.0.join("a/tree"));
    if !is_witnessed(test, &pair) {
        return;
    }
    run(&mut writing(&pair, &["changes"])).success();
    run(&mut writing(&pair, &["append", "append", "1000"])).success();
    let mut holder = Steps::start(&mut writing(&pair, &["hold", "held"]));
    let mut mapping = Steps::start(&mut writing(&pair, &["map", "mapped"]));
    soon_mirrored(&pair);
    holder.next();
    mapping.next();
    soon_mirrored(&pair);
    // Into the overlay's upper directory, beside it, and not into the root.
    harness::shell(&place.join("upper/a/tree"), "echo directly >> held");
    harness::shell(
        &merged.0,
        "echo beside > b; mkdir c; echo in > c/f; mv c/f a/tree/moved-in",
    );
    holder.finish();
    mapping.finish();
    let origin = pair
        .source
        .everwrite(["log", &pair.tree.join("append").display().to_string()]);
    assert!(origin.success().text().contains("static-writer["));
    all_was_heard(&pair);
}

/// Waits until it is said that not all of an overlay is heard, and no scan is about to find what comes now.
#[track_caller]
fn said_to_be_heard_in_part(pair: &harness::Pair, why: &str) {
    let names = harness::wait_for("the witness says how it stands", harness::DEADLINE, || {
        let names = pair.source.status().capture.names;
        (names.state == "partial").then_some(names)
    });
    assert!(names.reason.contains(why), "{names:?}");
    quiet(pair);
}

/// There only the ends of system calls tell of writes, which is said not to be all.
#[test]
fn an_overlay_on_btrfs() {
    let test = "an_overlay_on_btrfs";
    let Some(disk) = Disk::mount(test, "btrfs", 160) else {
        return;
    };
    let merged = match overlay(&disk.place.path().join("disk")) {
        Ok(merged) => merged,
        Err(reason) => return skip(test, &reason),
    };
    let pair = protecting(Place::new(), merged.0.join("a/tree"));
    if !has_ebpf(test, &pair) {
        return;
    }
    said_to_be_heard_in_part(&pair, "overlayfs");
    let told = || pair.source.status().capture.ebpf.hints;
    let before = told();
    run(&mut writing(&pair, &["append", "append", "100"])).success();
    run(&mut writing(&pair, &["append", "write", "100"])).success();
    soon_mirrored(&pair);
    assert!(told() >= before + 200, "it was told at calls");
    assert_eq!(pair.source.status().capture.scan.misses, 0);
}

/// What an overlay writes below a root that is not in it is hidden from fanotify.
#[test]
fn an_upper_directory_below_a_root() {
    let test = "an_upper_directory_below_a_root";
    let Some(disk) = Disk::mount(test, "btrfs", 160) else {
        return;
    };
    let place = disk.place.path().join("disk");
    let script = format!("mkdir -p lower work merged tree/upper; cd tree/upper; {TREE}");
    harness::shell(&place, script);
    let pair = protecting(Place::new(), place.join("tree"));
    if !is_witnessed(test, &pair) {
        return;
    }
    let mounted = run(Command::new("mount")
        .args(["-t", "overlay", "overlay", "-o"])
        .args(["lowerdir=lower,upperdir=tree/upper,workdir=work", "merged"])
        .current_dir(&place));
    if mounted.code != Some(0) {
        return skip(test, &mounted.stderr);
    }
    let merged = Unmount(place.join("merged"));
    said_to_be_heard_in_part(&pair, "the overlay at");
    let told = || pair.source.status().capture.ebpf.hints;
    let before = told();
    let mut command = writing(&pair, &["append", "append", "100"]);
    run(command.current_dir(&merged.0)).success();
    soon_mirrored(&pair);
    assert!(told() >= before + 100, "it was told at calls");
    assert_eq!(pair.source.status().capture.scan.misses, 0);
    drop(merged);
    harness::wait_until("all is heard again", || {
        pair.source.status().capture.names.state == "on"
    });
}

/// Where it can't be heard what is written, that is said, and scans find what changed.
#[test]
fn an_overlay_in_memory_is_said_not_to_be_heard() {
    let test = "an_overlay_in_memory_is_said_not_to_be_heard";
    let place = Place::new();
    let disk = match harness::SmallDisk::mount(&place, 64) {
        Ok(disk) => disk,
        Err(reason) => return skip(test, &reason),
    };
    let merged = match overlay(disk.path()) {
        Ok(merged) => merged,
        Err(reason) => return skip(test, &reason),
    };
    let pair = protecting(place, merged.0.join("a/tree"));
    let names = harness::wait_for("the witness says how it stands", harness::DEADLINE, || {
        let names = pair.source.status().capture.names;
        (names.state != "off").then_some(names)
    });
    assert!(
        names.reason.contains("overlayfs") && names.state != "on",
        "{names:?}"
    );
    run(&mut writing(&pair, &["append", "append", "100"])).success();
    pair.assert_mirrored();
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
