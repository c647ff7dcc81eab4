//! The programs at work: two with the shim, one without. Killed when dropped.

use std::process::{Child, Command, Stdio};

use crate::workload::kill_group;

use super::world::World;

const WRITER: &str = include_str!("writer.py");

/// All of them.
pub(super) struct Writers(Vec<Child>);

/// Starts them in the world's tree.
pub(super) fn start(world: &World) -> Writers {
    Writers((0..3).map(|number| start_one(world, number)).collect())
}

/// The third is a program that the shim knows nothing of.
fn start_one(world: &World, number: usize) -> Child {
    let mut command = match number {
        2 => Command::new("python3"),
        _ => {
            let mut command = world.pair.source.command();
            command.args(["run", "--", "python3"]);
            command
        }
    };
    command.args(["-c", WRITER, &world.seed().next().to_string()]);
    command
        .current_dir(&world.pair.tree)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    command.spawn().expect("start a writer")
}

impl Writers {
    /// kill -9 of one, in the middle of whatever it does; another takes its place.
    pub(super) fn kill_one(&mut self, world: &World) {
        let number = world.seed().below(self.0.len() as u64) as usize;
        let killed = std::mem::replace(&mut self.0[number], start_one(world, number));
        kill_group(killed);
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        for mut writer in self.0.drain(..) {
            let ended = writer.try_wait().expect("status of a writer");
            kill_group(writer);
            // A writer's own mistake would make every round after it a quiet one.
            assert!(
                std::thread::panicking() || ended.is_none(),
                "a writer ended by itself: {ended:?}"
            );
        }
    }
}
