//! Why a path is, or is not, protected.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use everwrite_protocol::control::{Explanation, PathText};
use tokio::sync::oneshot;

use super::Front;
use crate::config::Root;
use crate::control::Reply;
use crate::exclude::Excludes;
use crate::pipeline::{Event, Request};

impl Front {
    pub(super) fn explain(&mut self, path: PathText, reply: Reply<Explanation>) {
        let bytes = path.to_bytes().unwrap_or_default();
        let wanted = Path::new(OsStr::from_bytes(&bytes)).to_owned();
        let Some(root) = self.config.root_of(&wanted).cloned() else {
            let _ = reply.send(Ok(outside(path)));
            return;
        };
        if let Some(reason) = self.exclusion(&root, &wanted) {
            let _ = reply.send(Ok(Explanation {
                path,
                protected: false,
                reason,
                root: Some(root.name),
                last_stored: None,
            }));
            return;
        }
        let (indexed, known) = oneshot::channel();
        if let Some(pipeline) = self.pipeline_of(&root.to) {
            let request = Request::Indexed {
                path: path.clone(),
                reply: indexed,
            };
            self.outbox.push(pipeline, Event::Request(request));
        }
        let on = self.is_on();
        tokio::spawn(async move {
            let known = known.await.unwrap_or(false);
            reply.send(Ok(inside(path, &root, on, known)))
        });
    }

    fn exclusion(&self, root: &Root, path: &Path) -> Option<String> {
        let relative = path.strip_prefix(&root.path).ok()?;
        let mut excludes = Excludes::new(root, &self.config, &self.paths.own_directories());
        let _ = excludes.reload();
        let is_directory = std::fs::symlink_metadata(path).is_ok_and(|found| found.is_dir());
        let reason = excludes.excluded(relative.as_os_str().as_bytes(), is_directory);
        reason.map(|reason| reason.to_string())
    }
}

fn outside(path: PathText) -> Explanation {
    Explanation {
        path,
        protected: false,
        reason: "it lies in no protected directory; protect one: everwrite protect DIR".to_owned(),
        root: None,
        last_stored: None,
    }
}

fn inside(path: PathText, root: &Root, on: bool, known: bool) -> Explanation {
    let reason = match (on, known) {
        (false, _) => "the switch is off: changes are not captured until `everwrite on`".to_owned(),
        (true, true) => format!("it is in root {}, and the receiver has it", root.name),
        (true, false) => {
            format!(
                "it is in root {}, but the receiver has nothing of that name (yet)",
                root.name
            )
        }
    };
    Explanation {
        path,
        protected: on && known,
        reason,
        root: Some(root.name.clone()),
        last_stored: None,
    }
}
