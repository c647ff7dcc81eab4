//! Batches that break the rules, or keep them and mean harm.

use everwrite_protocol::ids::{FileId, SequenceNumber, Timestamp};
use everwrite_protocol::wire::{
    Answer, At, BackupCommand, Cut, Kind, PART_COMMANDS_MAX, Query, Role,
};
use everwrite_receiver::transport::{Frame, send_frame};

use crate::attacker::{Attacker, rejected, reply, stored};
use crate::history::{
    FILE, GOOD, ROOT, attributes, cut, cut_frame, name, part, part_frame, send, write,
};
use crate::scene::Scene;

const NEXT: u64 = GOOD + 1;

async fn say(attacker: &Attacker, frames: &[Frame<'_>]) -> String {
    let (mut line, _) = attacker.connect(Role::Live).await;
    for frame in frames {
        // The receiver may have ended the line at the one before.
        let _ = send_frame(&mut line, frame).await;
    }
    rejected(&mut line).await
}

/// A batch that is taken; waits until it is in the mirror, too, with whatever could be done of it.
async fn taken(attacker: &Attacker, sequence: u64, commands: Vec<BackupCommand>, payload: &[u8]) {
    let (mut line, before) = attacker.connect(Role::Live).await;
    assert_eq!(before, sequence - 1);
    send(&mut line, sequence, commands, payload).await;
    stored(&mut line, sequence).await;
    applied(attacker, sequence).await;
}

async fn applied(attacker: &Attacker, sequence: u64) {
    let at = SequenceNumber(sequence);
    let path = b"root/file".to_vec();
    let (answer, _) = attacker.ask(&Query::Stat { path, at }).await;
    assert!(matches!(answer, Answer::Stat(_)), "{answer:?}");
}

#[tokio::test]
async fn batches_again_in_another_order_and_with_gaps() {
    let scene = Scene::start().await;
    let (mut line, _) = scene.attacker.connect(Role::Live).await;
    for sequence in [3, 1, 5, 2, 4, 1] {
        send(&mut line, sequence, vec![write(5)], b"other").await;
        stored(&mut line, GOOD).await;
    }
    for wrong in [
        0,
        NEXT + 1,
        1 << 40,
        i64::MAX as u64,
        u64::MAX - 1,
        u64::MAX,
    ] {
        let frame = part_frame(&part(wrong, 0, vec![write(5)]), b"other");
        let reason = say(&scene.attacker, &[frame]).await;
        assert!(reason.contains("batch"), "{wrong}: {reason}");
        say(&scene.attacker, &[cut_frame(&cut(wrong, 0))]).await;
    }
    scene.unharmed().await;
}

#[tokio::test]
async fn parts_that_are_counted_wrongly() {
    let scene = Scene::start().await;
    let numbered = |number| part_frame(&part(NEXT, number, vec![write(5)]), b"other");
    for parts in [2, 3, u32::MAX] {
        let frames = [numbered(0), cut_frame(&cut(NEXT, parts))];
        assert!(say(&scene.attacker, &frames).await.contains("part"));
    }
    for number in [7, u32::MAX] {
        say(&scene.attacker, &[numbered(number)]).await;
    }
    for number in [2, u32::MAX] {
        say(&scene.attacker, &[numbered(0), numbered(number)]).await;
    }
    scene.unharmed().await;
}

/// Any number of parts would have to be in memory at once.
#[tokio::test]
async fn a_batch_without_end() {
    let scene = Scene::start().await;
    let truncate = BackupCommand::Truncate {
        file: FILE,
        length: 1,
        origin: 0,
    };
    let (mut line, _) = scene.attacker.connect(Role::Live).await;
    let commands = vec![truncate; PART_COMMANDS_MAX];
    for number in 0..2000 {
        let frame = part_frame(&part(NEXT, number, commands.clone()), b"");
        if send_frame(&mut line, &frame).await.is_err() {
            break;
        }
    }
    let reason = rejected(&mut line).await;
    assert!(reason.contains("too many parts"), "{reason}");
    scene.unharmed().await;
}

fn at(sequence: u64, time: i64) -> Cut {
    Cut {
        time: Timestamp(time),
        oldest_change: Timestamp(time.wrapping_neg()),
        ..cut(sequence, 1)
    }
}

#[tokio::test]
async fn times_that_nobody_lives_in() {
    let scene = Scene::start().await;
    let (mut line, _) = scene.attacker.connect(Role::Live).await;
    let times = [i64::MAX, i64::MIN, -1, 0, i64::MAX - 1, i64::MIN + 1];
    for (sequence, time) in (NEXT..).zip(times) {
        let aged = everwrite_protocol::wire::Attributes {
            modified: Timestamp(time),
            ..attributes(Kind::Regular, 5)
        };
        let set = BackupCommand::SetAttributes {
            file: FILE,
            attributes: aged,
            origin: 0,
        };
        let frame = part_frame(&part(sequence, 0, vec![write(5), set]), b"other");
        send_frame(&mut line, &frame).await.unwrap();
        let cut = cut_frame(&at(sequence, time));
        send_frame(&mut line, &cut).await.unwrap();
        stored(&mut line, sequence).await;
    }
    applied(&scene.attacker, GOOD + times.len() as u64).await;
    for time in times {
        let at = At::Time(Timestamp(time));
        let (answer, _) = scene.attacker.ask(&Query::Resolve { at }).await;
        assert!(matches!(answer, Answer::Resolved(_)), "{time}: {answer:?}");
    }
    told_by_the_command_line(&scene);
    scene.unharmed().await;
}

/// Commands that print the times work, too.
fn told_by_the_command_line(scene: &Scene) {
    let (store, id) = (scene.pair.receiver.store(), scene.attacker.id.to_string());
    store.ask("sources", &[]).success();
    store.ask("stats", &["--source", &id]).success();
    store.ask("log", &["--source", &id, "root/file"]).success();
    let to = scene.pair.place.path().join("home");
    let point = format!("@{}", GOOD);
    let to = to.join("restored");
    store.restore(&id, "root/file", &point, &to).success();
    let restored = std::fs::read(to.join("file")).unwrap();
    assert_eq!(restored, crate::history::content(GOOD));
}

#[tokio::test]
async fn a_checkpoint_with_a_name_without_end() {
    let scene = Scene::start().await;
    for length in [300, 100_000, (1 << 20) - 100] {
        let named = Cut {
            checkpoint: Some("x".repeat(length)),
            ..cut(NEXT, 0)
        };
        let reason = say(&scene.attacker, &[cut_frame(&named)]).await;
        assert!(reason.contains("checkpoint"), "{reason}");
    }
    scene.unharmed().await;
}

fn copy(from: FileId, from_offset: u64, offset: u64, length: u64) -> Vec<BackupCommand> {
    let (file, origin) = (FileId(100), 0);
    let copy = BackupCommand::Copy {
        file,
        offset,
        length,
        from,
        from_offset,
        origin,
    };
    let attributes = attributes(Kind::Regular, 4096);
    let create = BackupCommand::Create {
        file,
        attributes,
        origin,
    };
    let drop = BackupCommand::Drop { file };
    vec![create, copy.clone(), copy.clone(), copy, drop]
}

#[tokio::test]
async fn copies_from_outside_of_their_base() {
    const FAR: u64 = (i64::MAX - 1) as u64;
    let scene = Scene::start().await;
    let copies = [
        copy(FILE, 1 << 20, 0, 4096),
        copy(FILE, 0, 0, FAR),
        copy(FILE, FAR - 10, 0, 10),
        copy(FILE, 0, FAR - 10, 10),
        copy(FileId(100), 0, 10, 4096),
        copy(FileId(999), 0, 0, FAR),
        copy(ROOT, 0, 0, 4096),
    ];
    for (sequence, commands) in (NEXT..).zip(copies) {
        taken(&scene.attacker, sequence, commands, b"").await;
    }
    let beyond = [
        copy(FILE, u64::MAX, 0, 2),
        copy(FILE, 0, u64::MAX - 1, u64::MAX),
    ];
    for commands in beyond {
        let frame = part_frame(&part(NEXT + 7, 0, commands), b"");
        say(&scene.attacker, &[frame]).await;
    }
    scene.unharmed().await;
}

/// A part whose only name is replaced, in its bytes, by one that no honest encoder writes.
fn named(tricky: &[u8]) -> Frame<'static> {
    let honest = "y".repeat(tricky.len());
    let attach = BackupCommand::Attach {
        parent: ROOT,
        name: name(&honest),
        file: FILE,
        origin: 0,
    };
    let mut frame = part_frame(&part(NEXT, 0, vec![attach]), b"");
    let at = frame
        .encoded
        .windows(tricky.len())
        .position(|window| window == honest.as_bytes())
        .expect("the name in its bytes");
    frame.encoded[at..at + tricky.len()].copy_from_slice(tricky);
    frame
}

#[tokio::test]
async fn names_that_lead_elsewhere() {
    let scene = Scene::start().await;
    let tricks = [
        &b".."[..],
        b".",
        b"../../x",
        b"/etc/everwrite",
        b"a/../../b",
        b"a\0b",
    ];
    for trick in tricks {
        let reason = say(&scene.attacker, &[named(trick)]).await;
        assert!(reason.contains("malformed"), "{reason}");
    }
    scene.unharmed().await;
}

/// A link out of the mirror, and files below it, through it and in its place.
#[tokio::test]
async fn links_that_lead_elsewhere() {
    let scene = Scene::start().await;
    let outside = scene.pair.place.path().join("home").join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("file"), "untouched").unwrap();
    let (link, origin) = (FileId(50), 0);
    let leading_out = everwrite_protocol::wire::Attributes {
        target: outside.as_os_str().as_encoded_bytes().to_vec(),
        ..attributes(Kind::Symlink, 0)
    };
    let place = |parent, called: &str, file| BackupCommand::Attach {
        parent,
        name: name(called),
        file,
        origin,
    };
    let make = BackupCommand::Create {
        file: link,
        attributes: leading_out,
        origin,
    };
    let into_link = |file| BackupCommand::Write {
        file,
        offset: 0,
        length: 5,
        payload_offset: 0,
        origin,
    };
    let detach = BackupCommand::Detach {
        parent: link,
        name: name("file"),
        origin,
    };
    let batches = [
        vec![make, place(ROOT, "link", link)],
        vec![place(link, "file", FILE), into_link(link)],
        vec![detach, place(link, "new", FILE)],
        vec![BackupCommand::Truncate {
            file: link,
            length: 0,
            origin,
        }],
    ];
    for (sequence, commands) in (NEXT..).zip(batches) {
        taken(&scene.attacker, sequence, commands, b"other").await;
    }
    let entries = std::fs::read_dir(&outside).unwrap().count();
    assert_eq!(entries, 1, "something came to be outside");
    let file = std::fs::read(outside.join("file")).unwrap();
    assert_eq!(file, b"untouched");
    scene.unharmed().await;
}

/// Numbers of files are each source's own.
#[tokio::test]
async fn files_of_another_source() {
    let scene = Scene::start().await;
    let theirs = |file: u64| {
        let (file, origin) = (FileId(file), 0);
        let write = BackupCommand::Write {
            file,
            offset: 0,
            length: 5,
            payload_offset: 0,
            origin,
        };
        [write, BackupCommand::Drop { file }]
    };
    let commands: Vec<BackupCommand> = (3..500).flat_map(theirs).collect();
    taken(&scene.attacker, NEXT, commands, b"other").await;
    scene.unharmed().await;
}

/// What follows a broken rule is not taken, even if it is right by itself.
#[tokio::test]
async fn a_line_is_dead_after_a_broken_rule() {
    let scene = Scene::start().await;
    let (mut line, _) = scene.attacker.connect(Role::Live).await;
    let wrong = part_frame(&part(NEXT, 9, vec![write(5)]), b"other");
    send_frame(&mut line, &wrong).await.unwrap();
    send(&mut line, NEXT, vec![write(5)], b"other").await;
    rejected(&mut line).await;
    assert_eq!(reply(&mut line).await, None);
    let (_, stored) = scene.attacker.connect(Role::Query).await;
    assert_eq!(stored, GOOD, "what followed was taken");
    scene.unharmed().await;
}
