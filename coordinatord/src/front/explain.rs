//! Why a path is, or is not, protected: what is configured, then what the switch and the index say.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use everwrite_protocol::control::{Explanation, PathText};
use tokio::sync::oneshot;

use super::Front;
use crate::control::Reply;
use crate::exclude;
use crate::pipeline::{Event, Request};

impl Front {
    pub(super) fn explain(&mut self, path: PathText, reply: Reply<Explanation>) {
        let bytes = path.to_bytes().unwrap_or_default();
        let configured = exclude::explain(
            &self.config,
            &self.paths,
            Path::new(OsStr::from_bytes(&bytes)),
        );
        let root = configured
            .root
            .as_ref()
            .and_then(|root| self.config.root(root));
        let pipeline = root.and_then(|root| self.pipeline_of(&root.to));
        let (true, Some(pipeline)) = (configured.protected, pipeline) else {
            let _ = reply.send(Ok(configured));
            return;
        };
        let (indexed, known) = oneshot::channel();
        let request = Request::Indexed {
            path,
            reply: indexed,
        };
        self.outbox.push(pipeline, Event::Request(request));
        let on = self.is_on();
        tokio::spawn(async move {
            let known = known.await.unwrap_or(false);
            reply.send(Ok(judged(configured, on, known)))
        });
    }
}

/// What is configured to be protected is, if the switch is on and the receiver has it.
fn judged(configured: Explanation, on: bool, known: bool) -> Explanation {
    let reason = match (on, known) {
        (false, _) => "the switch is off: changes are not captured until `everwrite on`".to_owned(),
        (true, true) => format!("{}, and the receiver has it", configured.reason),
        (true, false) => {
            format!(
                "{}, but the receiver has nothing of that name (yet)",
                configured.reason
            )
        }
    };
    Explanation {
        protected: on && known,
        reason,
        ..configured
    }
}
