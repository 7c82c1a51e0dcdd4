//! `portcullis sessions`: orders about the sessions of users.

use std::process::ExitCode;

use clap::Subcommand;

use super::{admin_address::AdminAddress, fail, not_ordered, plural, print};
use crate::identity::ended_users::UserSelector;

#[derive(Debug, clap::Args)]
pub(super) struct Sessions {
    #[command(subcommand)]
    command: SessionsCommand,
}

#[derive(Debug, Subcommand)]
enum SessionsCommand {
    /// End all sessions of a user on all hosts, and revoke their refresh tokens. Session cookies from
    /// before the order no longer count, also those that the process has not seen yet.
    ///
    /// The user can sign in again. To prevent that, disable the user at the identity provider first.
    End(EndSessions),
}

#[derive(Debug, clap::Args)]
struct EndSessions {
    #[command(flatten)]
    admin: AdminAddress,
    #[command(flatten)]
    owner: OwnerArguments,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct OwnerArguments {
    /// The user's ID at the identity provider, as the access log has it.
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// The user's email address.
    #[arg(long, value_name = "ADDRESS")]
    email: Option<String>,
}

impl Sessions {
    pub(super) fn run(self) -> ExitCode {
        let SessionsCommand::End(order) = self.command;
        order.run()
    }
}

impl EndSessions {
    fn run(self) -> ExitCode {
        let Some(user) = self.owner.into_user().filter(UserSelector::can_name_a_user) else {
            return fail(&format!(
                "name the user by --user or --email; an ID is not empty, an address contains @, and \
                 neither is longer than {} bytes",
                UserSelector::MAX_BYTES
            ));
        };
        let ended = self.admin.process().and_then(|process| {
            process.end_sessions(&user).map_err(|error| not_ordered(&process, &error))
        });
        match ended {
            Ok(ended) => print(&format!(
                "ended {ended} known session{} of {}; session cookies from before now no longer \
                 count\n",
                plural(ended),
                user.text().escape_debug()
            )),
            Err(problem) => fail(&problem),
        }
    }
}

impl OwnerArguments {
    fn into_user(self) -> Option<UserSelector> {
        match (self.user, self.email) {
            (Some(user), _) => Some(UserSelector::Id(user.into())),
            (None, Some(email)) => Some(UserSelector::Email(email.into())),
            (None, None) => None,
        }
    }
}
