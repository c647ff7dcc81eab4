//! Requests of the API.

use std::sync::Arc;
use std::time::{Duration, Instant};

use everwrite_protocol::control::{
    ApiError, OffRequest, PairAnswer, PairRequest, ProtectRequest, ReconcileRequest, RootStatus,
    Status, Switch, SyncAnswer, SyncPoint, SyncRequest,
};
use everwrite_protocol::ids::Timestamp;
use tokio::sync::oneshot;

use super::Front;
use super::behind::settling_often;
use crate::clock::wall_clock;
use crate::config::{Config, SwitchState};
use crate::control::{ControlRequest, Reply};
use crate::pipeline::{Event, Passed, Request};

/// Exit code of the command line: a negative answer.
const NEGATIVE: u8 = 1;
/// Longest name of a checkpoint that receivers take.
const CHECKPOINT_BYTES_MAX: usize = 255;
/// Exit code of the command line: usage.
const USAGE: u8 = 2;

impl Front {
    pub(super) fn handle(&mut self, request: ControlRequest) {
        match request {
            ControlRequest::Status { reply } => {
                let reports = self.ask_reports();
                tokio::spawn(async move { reply.send(Ok(reports.status().await)) });
            }
            ControlRequest::Protect { request, reply } => self.protect(&request, reply),
            ControlRequest::Unprotect { root, reply } => {
                let _ = reply.send(self.unprotect(&root));
            }
            ControlRequest::On { reply } => {
                let turned = self.turn(Switch::On, None);
                self.reply_status(turned, reply);
            }
            ControlRequest::Off { request, reply } => {
                let turned = self.turn(Switch::Off, resume_time(&request));
                self.reply_status(turned, reply);
            }
            ControlRequest::Sync { request, reply } => self.sync(request, reply),
            ControlRequest::Reconcile { request, reply } => self.reconcile(request, reply),
            ControlRequest::Explain { path, reply } => self.explain(path, reply),
            ControlRequest::Coverage { reply } => self.coverage(reply),
            ControlRequest::Acknowledge { until, reply } => self.acknowledge(until, reply),
            ControlRequest::Announce { request, reply } => {
                self.announce(&request);
                let _ = reply.send(Ok(()));
            }
            ControlRequest::Pair { request, reply } => {
                let _ = reply.send(self.pair(&request));
            }
        }
    }

    /// What is done about once a second.
    pub(super) fn once_a_second(&mut self) {
        if self.switch.resumes_at.is_some_and(|at| at <= wall_clock())
            && let Err(error) = self.turn(Switch::On, None)
        {
            tracing::error!(error = %error.error, "the pause could not be ended");
        }
        // Mounts come and go.
        self.watch_roots();
        self.places.look(self.root_paths());
        if self.is_on() {
            let asked = Instant::now();
            (0..self.pipelines.len()).for_each(|pipeline| {
                self.request_behind_hints(pipeline, Request::Settle { asked });
            });
        }
    }

    fn protect(&mut self, request: &ProtectRequest, reply: Reply<RootStatus>) {
        match self.protect_root(request) {
            Ok(name) => {
                let reports = self.ask_reports();
                tokio::spawn(async move {
                    let status = reports.status().await;
                    let root = status.roots.into_iter().find(|root| root.name == name);
                    reply.send(root.ok_or_else(|| {
                        failed(
                            "the root is not known to its pipeline",
                            "see the coordinator's log",
                        )
                    }))
                });
            }
            Err(error) => {
                let _ = reply.send(Err(error));
            }
        }
    }

    fn protect_root(&mut self, request: &ProtectRequest) -> Result<String, ApiError> {
        let mut config = Config::clone(&self.config);
        let root = config.protect(request).map_err(ApiError::from)?.clone();
        check_directory(&root.path)?;
        self.adopt_config(config)?;
        if let Some(receiver) = self.config.receiver(&root.to).cloned() {
            self.start_pipeline(&receiver)
                .map_err(|error| failed(&format!("{error:#}"), "see the coordinator's log"))?;
        }
        self.protect_in_pipeline(&root);
        Ok(root.name)
    }

    fn unprotect(&mut self, name: &str) -> Result<(), ApiError> {
        let mut config = Config::clone(&self.config);
        let root = config.unprotect(name).map_err(ApiError::from)?;
        self.adopt_config(config)?;
        if let Some(pipeline) = self.pipeline_of(&root.to) {
            self.outbox
                .push(pipeline, Event::Request(Request::Unprotect(root.name)));
        }
        Ok(())
    }

    fn pair(&mut self, request: &PairRequest) -> Result<PairAnswer, ApiError> {
        let mut config = Config::clone(&self.config);
        let receiver = config.pair(request).map_err(ApiError::from)?.clone();
        self.adopt_config(config)?;
        self.start_pipeline(&receiver)
            .map_err(|error| failed(&format!("{error:#}"), "see the coordinator's log"))?;
        Ok(PairAnswer {
            name: receiver.name,
        })
    }

    /// Written first, then believed.
    fn adopt_config(&mut self, config: Config) -> Result<(), ApiError> {
        config.save(self.paths.config_file()).map_err(|error| {
            failed(
                &error.to_string(),
                "nothing was changed; make the file writable and repeat",
            )
        })?;
        let before = self.root_paths();
        self.config = Arc::new(config);
        self.intake.set_durable(self.config.durable_fsync());
        if self.root_paths() != before {
            self.places.roots_changed(self.root_paths());
            self.watch_roots();
        }
        for pipeline in 0..self.pipelines.len() {
            let request = Request::Configured(Arc::clone(&self.config));
            self.outbox.push(pipeline, Event::Request(request));
        }
        Ok(())
    }

    fn turn(&mut self, switch: Switch, resumes_at: Option<Timestamp>) -> Result<(), ApiError> {
        let same = self.switch.switch == switch;
        let since = if same {
            self.switch.since
        } else {
            wall_clock()
        };
        let state = SwitchState {
            switch,
            since,
            resumes_at,
        };
        state.save(&self.paths.switch_file()).map_err(|error| {
            failed(
                &format!("{}: {error}", self.paths.switch_file().display()),
                "the switch was not turned; make the file writable and repeat",
            )
        })?;
        self.switch = state;
        self.intake.set_switch(self.is_on());
        self.watch_roots();
        for pipeline in 0..self.pipelines.len() {
            self.outbox
                .push(pipeline, Event::Request(Request::Switch(self.is_on())));
        }
        Ok(())
    }

    fn reply_status(&mut self, turned: Result<(), ApiError>, reply: Reply<Status>) {
        let reports = self.ask_reports();
        tokio::spawn(async move {
            let status = reports.status().await;
            reply.send(turned.map(|()| status))
        });
    }

    fn sync(&mut self, request: SyncRequest, reply: Reply<SyncAnswer>) {
        if !self.is_on() {
            let _ = reply.send(Err(failed(
                "the switch is off: changes are not captured, so there is nothing to wait for",
                "turn it on: everwrite on",
            )));
            return;
        }
        let name = request.checkpoint.as_ref();
        if name.is_some_and(|name| name.len() > CHECKPOINT_BYTES_MAX) {
            let _ = reply.send(Err(ApiError {
                error: "the checkpoint's name has more than 255 bytes".to_owned(),
                hint: "choose a shorter one".to_owned(),
                exit: USAGE,
            }));
            return;
        }
        let started = Instant::now();
        let mut waiting = Vec::new();
        let receivers: std::collections::BTreeSet<_> = self
            .config
            .roots
            .iter()
            .map(|root| root.to.clone())
            .collect();
        for receiver in receivers {
            let Some(pipeline) = self.pipeline_of(&receiver) else {
                continue;
            };
            let (passed, point) = oneshot::channel();
            let (applied, checkpoint) = (request.applied, request.checkpoint.clone());
            self.request_behind_hints(
                pipeline,
                Request::Barrier {
                    applied,
                    checkpoint,
                    reply: passed,
                },
            );
            waiting.push((receiver, point));
        }
        let timeout = Duration::from_millis(request.timeout_ms);
        tokio::spawn(async move {
            let answer = tokio::time::timeout(timeout, gather(waiting, started)).await;
            reply.send(answer.unwrap_or_else(|_| {
                Err(failed(
                    &format!(
                        "not everything was stored within {} s",
                        timeout.as_secs_f64()
                    ),
                    "it goes on; see `everwrite status`, or wait longer with --timeout",
                ))
            }))
        });
    }

    fn reconcile(
        &mut self,
        request: ReconcileRequest,
        reply: Reply<everwrite_protocol::control::ReconcileAnswer>,
    ) {
        let known = |name: &String| self.config.root(name).is_none();
        if let Some(name) = request.root.as_ref().filter(|name| known(name)) {
            let _ = reply.send(Err(ApiError {
                error: format!("there is no root named {name}"),
                hint: "`everwrite status` lists the roots".to_owned(),
                exit: USAGE,
            }));
            return;
        }
        let mut waiting = Vec::new();
        for pipeline in 0..self.pipelines.len() {
            let (answered, answer) = oneshot::channel();
            let (root, accept_empty) = (request.root.clone(), request.accept_empty);
            let request = Request::Reconcile {
                root,
                accept_empty,
                reply: answered,
            };
            self.request_behind_hints(pipeline, request);
            waiting.push(answer);
        }
        let timeout = Duration::from_millis(request.timeout_ms);
        let pipelines = 0..self.pipelines.len();
        let pipelines = pipelines.map(|pipeline| self.behind_hints(pipeline));
        let answers = settling_often(pipelines.collect(), gather_reconciles(waiting));
        tokio::spawn(async move {
            let answer = tokio::time::timeout(timeout, answers).await;
            reply.send(answer.unwrap_or_else(|_| {
                Err(failed(
                    &format!("the scan has not ended within {} s", timeout.as_secs_f64()),
                    "it goes on; see `everwrite status`, or wait longer with --timeout",
                ))
            }))
        });
    }
}

async fn gather(
    waiting: Vec<(String, oneshot::Receiver<Passed>)>,
    started: Instant,
) -> Result<SyncAnswer, ApiError> {
    let mut points = Vec::new();
    for (receiver, point) in waiting {
        let passed = point.await.map_err(|_| stopping())?;
        let stored =
            passed.map_err(|reason| failed(&reason, "mend the cause; see `everwrite status`"))?;
        points.push(SyncPoint { receiver, stored });
    }
    Ok(SyncAnswer {
        points,
        took_ms: started.elapsed().as_millis() as u64,
    })
}

async fn gather_reconciles(
    waiting: Vec<oneshot::Receiver<Result<everwrite_protocol::control::ReconcileAnswer, ApiError>>>,
) -> Result<everwrite_protocol::control::ReconcileAnswer, ApiError> {
    let mut total = everwrite_protocol::control::ReconcileAnswer {
        compared: 0,
        misses: 0,
        missed_paths: Vec::new(),
    };
    for answer in waiting {
        let answer = answer.await.map_err(|_| stopping())??;
        total.compared += answer.compared;
        total.misses += answer.misses;
        total.missed_paths.extend(answer.missed_paths);
    }
    Ok(total)
}

fn check_directory(path: &std::path::Path) -> Result<(), ApiError> {
    let wrong = |cause: &str| ApiError {
        error: format!("{}: {cause}", path.display()),
        hint: "give an existing directory".to_owned(),
        exit: USAGE,
    };
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err(wrong("not a directory")),
        Err(error) => Err(wrong(&error.to_string())),
    }
}

fn resume_time(request: &OffRequest) -> Option<Timestamp> {
    let nanoseconds = |ms: u64| {
        i64::try_from(ms)
            .unwrap_or(i64::MAX)
            .saturating_mul(1_000_000)
    };
    request
        .for_ms
        .map(|ms| Timestamp(wall_clock().0.saturating_add(nanoseconds(ms))))
}

fn failed(error: &str, hint: &str) -> ApiError {
    ApiError {
        error: error.to_owned(),
        hint: hint.to_owned(),
        exit: NEGATIVE,
    }
}

fn stopping() -> ApiError {
    failed(
        "the coordinator is stopping",
        "start it again and repeat the command",
    )
}
