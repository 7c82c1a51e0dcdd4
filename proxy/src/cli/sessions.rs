//! `portcullis sessions`: orders about the sessions of users.

use std::process::ExitCode;

use clap::Subcommand;

use super::{AdminAddress, fail, plural, print, status};
use crate::admin::{SessionOwner, SessionsEnded};

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
        let Some(owner) = self.owner.into_owner() else {
            return fail("name the user by --user or --email");
        };
        let ended = self.admin.resolve().and_then(|address| {
            let ended = status::order_end_of_sessions(address, &owner);
            ended.map_err(|error| error.to_string())
        });
        match ended {
            Ok(SessionsEnded { ended }) => {
                let (SessionOwner::User(name) | SessionOwner::Email(name)) = owner;
                print(&format!(
                    "ended {ended} known session{} of {}; session cookies from before now no longer \
                     count\n",
                    plural(ended),
                    name.escape_debug()
                ))
            }
            Err(problem) => fail(&problem),
        }
    }
}

impl OwnerArguments {
    fn into_owner(self) -> Option<SessionOwner> {
        match (self.user, self.email) {
            (Some(user), _) => Some(SessionOwner::User(user.into())),
            (None, Some(email)) => Some(SessionOwner::Email(email.into())),
            (None, None) => None,
        }
    }
}
