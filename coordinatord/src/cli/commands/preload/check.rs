//! `everwrite preload check`.

use clap::Args;

use super::{ask_loaders, failed, lines, scratch};
use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::cli::preloading::root::Root;
use crate::cli::shim_library;

/// Try the shim on programs of this machine; changes nothing. Exit code 1: something is different.
#[derive(Args, Debug)]
pub(super) struct Check {}

impl Check {
    pub(super) fn run(self, context: &Context, root: &Root) -> Result<Exit, Failure> {
        let (shim, scratch) = (shim_library::sealed()?, scratch(root)?);
        let loaders = ask_loaders(root, &scratch)?;
        let directory = scratch.within().join("libraries");
        let written = loaders.layout.write(root, &directory, &shim);
        written.map_err(|error| failed("write libraries below", scratch.real(), &error))?;
        let report = loaders.test(root, &scratch, &directory);
        let report = report.map_err(|error| failed("try programs of", root.directory(), &error))?;
        context.answer(&report)?;
        for line in lines(&report) {
            context.say(line)?;
        }
        let different = report.differences().count() + report.problems(true).count();
        let others = report.problems(false).count();
        context.say(verdict(different, others))?;
        let known = report.unexplained().is_empty();
        Ok(Exit::answer(different == 0 && others == 0 && known))
    }
}

fn verdict(different: usize, others: usize) -> &'static str {
    match (different, others) {
        (0, 0) => "no program is different: `everwrite preload install` may follow",
        (0, _) => "`everwrite preload install` needs --without-32-bit (see --help)",
        _ => "the shim is not to be installed here; please report what is above",
    }
}
