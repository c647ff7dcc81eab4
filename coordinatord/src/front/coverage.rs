//! The coverage: who tells of its changes now, and what was told by whom until now.

use std::sync::Arc;

use everwrite_protocol::control::{AcknowledgeAnswer, ApiError, Changes, Coverage, ProgramChanges};
use everwrite_protocol::ids::Timestamp;
use tokio::sync::oneshot;

use super::Front;
use crate::control::Reply;
use crate::pipeline::{AccountReport, Event, Request};

impl Front {
    /// Asks intake and pipelines; the answers are awaited elsewhere.
    pub(super) fn coverage(&mut self, reply: Reply<Coverage>) {
        let (intake, reports) = (Arc::clone(&self.intake), self.ask_reports());
        let accounts = self.ask_all(Request::Account);
        tokio::spawn(async move {
            let mut coverage = intake.coverage().await;
            coverage.capture = reports.status().await.capture;
            for account in accounts {
                // A pipeline that is ending has nothing to say.
                add(&mut coverage, account.await.unwrap_or_default());
            }
            coverage
                .misses
                .sort_by_key(|miss| std::cmp::Reverse(miss.at));
            coverage.gaps.sort_by_key(|gap| std::cmp::Reverse(gap.at));
            reply.send(Ok(coverage))
        });
    }

    /// Bursts that were noticed until then have been seen.
    pub(super) fn acknowledge(&mut self, until: Timestamp, reply: Reply<AcknowledgeAnswer>) {
        let answers = self.ask_all(|reply| Request::Acknowledge { until, reply });
        tokio::spawn(async move {
            let mut acknowledged = 0;
            for answer in answers {
                acknowledged += answer.await.unwrap_or(0);
            }
            let answer: Result<_, ApiError> = Ok(AcknowledgeAnswer { acknowledged });
            reply.send(answer)
        });
    }

    fn ask_all<A>(
        &mut self,
        request: impl Fn(oneshot::Sender<A>) -> Request,
    ) -> Vec<oneshot::Receiver<A>> {
        let ask = |pipeline| {
            let (reply, answer) = oneshot::channel();
            self.outbox.push(pipeline, Event::Request(request(reply)));
            answer
        };
        (0..self.pipelines.len()).map(ask).collect()
    }
}

fn add(coverage: &mut Coverage, account: AccountReport) {
    coverage.misses.extend(account.misses);
    coverage.gaps.extend(account.gaps);
    for program in account.programs {
        let known = coverage.programs.iter_mut();
        match known
            .into_iter()
            .find(|known| known.program == program.program)
        {
            Some(known) => known.changes = known.changes.and(program.changes),
            None => coverage.programs.push(program),
        }
    }
    coverage.programs.sort_by(busiest_first);
}

fn busiest_first(one: &ProgramChanges, other: &ProgramChanges) -> std::cmp::Ordering {
    let all = |program: &ProgramChanges| Changes::all(&program.changes);
    all(other)
        .cmp(&all(one))
        .then_with(|| one.program.cmp(&other.program))
}
