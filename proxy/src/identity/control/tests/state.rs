//! The state file, from one control thread to the next.

use std::path::Path;

use super::*;
use crate::identity::{
    control::end_user::EndSessionsError, ended_users::UserSelector, seal::Seals, spec::SealSecret,
};

impl Ours {
    /// The next process at the same provider and file. It has not read the file yet.
    pub(super) fn with_file(theirs: &TestProvider, path: &Path) -> Ours {
        let mut spec = sign_in_spec(&theirs.url);
        spec.state_file = Some(path.into());
        let ours = Ours::new(spec);
        let seals = Seals::new(&SealSecret([1; 32]), None, &[]);
        ours.control.configure_state(Some(Arc::new(seals)));
        ours
    }

    fn ann(&self) -> Result<usize, EndSessionsError> {
        self.control.end_sessions_of(&UserSelector::Id("ann".into()))
    }
}

/// A process that has signed somebody in, with its file.
async fn signed_in(theirs: &TestProvider) -> (Ours, tempfile::TempDir, std::path::PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state");
    let ours = Ours::with_file(theirs, &path);
    ours.control.restore(false);
    ours.sign_in().await;
    (ours, directory, path)
}

fn used_token(theirs: &TestProvider) -> String {
    theirs.seen("/token").pop().unwrap().body
}

#[test]
fn the_next_process_refreshes_by_the_token_that_was_written() {
    run(async {
        let theirs = TestProvider::start().await;
        let (ours, _directory, path) = signed_in(&theirs).await;
        ours.control.save_state().await;
        let next = Ours::with_file(&theirs, &path);
        next.control.restore(false);
        assert!(matches!(next.shared.update(SESSION), Some(SessionUpdate::Renewed(_))));
        theirs.json("/token", 200, refreshed("refresh-2"));
        next.later(600);
        next.renewed().await;
        assert!(used_token(&theirs).ends_with("refresh_token=refresh-1"));
    });
}

#[test]
fn what_ended_is_known_to_the_next_process() {
    run(async {
        let theirs = TestProvider::start().await;
        let (ours, _directory, path) = signed_in(&theirs).await;
        assert_eq!(ours.ann(), Ok(1));
        ours.control.save_state().await;
        let next = Ours::with_file(&theirs, &path);
        next.control.restore(false);
        assert!(next.is_ended());
        let ann = crate::policy::Identity { user_id: "ann".into(), ..Default::default() };
        assert_eq!(next.shared.user_end(&ann).ended_before_s, NOW_S + 1);
        assert!(is_over(&next.check().await));
    });
}

#[test]
fn a_sign_in_after_the_end_of_its_user_outlasts_a_restart() {
    run(async {
        let theirs = TestProvider::start().await;
        let (ours, _directory, path) = signed_in(&theirs).await;
        ours.ann().unwrap();
        let other = SessionId([8; 16]);
        let exchange = CodeExchange { session: other, ..ours.code(1) };
        ours.call(IdentityCall::Exchange(exchange)).await;
        ours.control.save_state().await;
        let next = Ours::with_file(&theirs, &path);
        next.control.restore(false);
        assert!(next.is_ended() && next.control.0.sessions.borrow().get(other).is_some());
    });
}

#[test]
fn after_the_hand_over_no_token_is_used_and_no_session_ends() {
    run(async {
        let theirs = TestProvider::start().await;
        let (ours, _directory, path) = signed_in(&theirs).await;
        ours.control.hand_state_over().await;
        ours.later(600);
        assert!(is_away(&ours.check().await));
        assert_eq!(theirs.seen("/token").len(), 1);
        let sign_out = IdentityCall::SignOut { session: SESSION, ends_at_s: 0, revoke: true };
        let reply = ours.call(sign_out).await;
        assert!(matches!(reply, IdentityReply::Failed(ProviderFailure::Away(_))), "{reply:?}");
        assert_eq!(ours.ann(), Err(EndSessionsError::Replaced));
        assert!(!ours.is_ended());
        let written = std::fs::read(&path).unwrap();
        ours.control.save_state().await;
        assert_eq!(std::fs::read(&path).unwrap(), written, "the file is the next process's");
    });
}

#[test]
fn a_process_that_replaces_another_waits_for_its_last_write() {
    run(async {
        let theirs = TestProvider::start().await;
        let (ours, _directory, path) = signed_in(&theirs).await;
        ours.control.save_state().await;
        let next = Ours::with_file(&theirs, &path);
        next.control.restore(true);
        assert!(matches!(next.check().await, CheckOutcome::Unknown), "it has no token yet");
        next.control.save_state().await;
        theirs.json("/token", 200, refreshed("refresh-2"));
        ours.later(600);
        ours.renewed().await;
        ours.control.hand_state_over().await;
        next.control.take_over_state(true).await;
        next.later(1200);
        theirs.json("/token", 200, refreshed("refresh-3"));
        next.renewed().await;
        assert!(used_token(&theirs).ends_with("refresh_token=refresh-2"));
    });
}

#[test]
fn without_an_acknowledgement_only_what_ended_is_taken_over() {
    run(async {
        let theirs = TestProvider::start().await;
        let (ours, _directory, path) = signed_in(&theirs).await;
        let next = Ours::with_file(&theirs, &path);
        next.control.restore(true);
        ours.control.save_state().await;
        next.control.take_over_state(false).await;
        assert!(matches!(next.check().await, CheckOutcome::Unknown));
        assert_eq!(ours.ann(), Ok(1));
        ours.control.save_state().await;
        next.control.take_over_state(false).await;
        assert!(next.is_ended());
    });
}

#[test]
fn a_session_that_ended_while_its_token_was_awaited_is_revoked() {
    run(async {
        for by_order in [true, false] {
            let theirs = TestProvider::start().await;
            let (ours, _directory, path) = signed_in(&theirs).await;
            let next = Ours::with_file(&theirs, &path);
            next.control.restore(true);
            match by_order {
                true => assert_eq!(next.ann(), Ok(0)),
                false => next.sign_out(true).await,
            }
            ours.control.hand_state_over().await;
            next.control.take_over_state(true).await;
            assert!(next.is_ended(), "{by_order}");
            assert!(is_over(&next.check().await));
            seen(&theirs, "/revoke", 1).await;
        }
    });
}

#[test]
fn a_session_whose_check_is_under_way_is_left_out() {
    run(async {
        let theirs = TestProvider::start().await;
        let (ours, _directory, path) = signed_in(&theirs).await;
        theirs.answer("/token", TestAnswer::Hang);
        ours.later(600);
        let caller = ours.caller.clone();
        let check =
            tokio::spawn(async move { caller.call(IdentityCall::Check(request()), LONG).await });
        seen(&theirs, "/token", 2).await;
        ours.control.save_state().await;
        check.abort();
        let next = Ours::with_file(&theirs, &path);
        next.control.restore(false);
        assert!(matches!(next.check().await, CheckOutcome::Unknown));
    });
}

#[test]
fn sessions_of_another_provider_are_not_taken_over() {
    run(async {
        let theirs = TestProvider::start().await;
        let (ours, _directory, path) = signed_in(&theirs).await;
        ours.control.save_state().await;
        let other = TestProvider::start().await;
        let next = Ours::with_file(&other, &path);
        next.control.restore(false);
        assert!(matches!(next.check().await, CheckOutcome::Unknown));
    });
}

#[test]
fn the_provider_s_session_is_found_after_a_restart() {
    run(async {
        let theirs = TestProvider::start().await;
        let claims = crate::identity::jose::testing::with(theirs.claims(), json!({"sid": "s1"}));
        theirs.json("/token", 200, theirs.tokens(&claims));
        let (ours, _directory, path) = signed_in(&theirs).await;
        ours.control.save_state().await;
        let next = Ours::with_file(&theirs, &path);
        next.control.restore(false);
        let found = next.control.0.sessions.borrow().of_provider(
            next.code(1).provider,
            Some("ann"),
            Some("s1"),
        );
        assert_eq!(found, [SESSION]);
    });
}

/// Makes each write fail, also for root: there is a directory in the way of the temporary file.
fn block_writes(path: &Path) {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".new.{}", std::process::id()));
    std::fs::create_dir(name).unwrap();
}

#[test]
fn a_hand_over_says_whether_all_is_in_the_file() {
    run(async {
        let theirs = TestProvider::start().await;
        let (ours, _directory, path) = signed_in(&theirs).await;
        assert!(ours.control.hand_state_over().await);
        assert!(ours.control.hand_state_over().await, "a second order repeats it");
        let awaits = Ours::with_file(&theirs, &path);
        awaits.control.restore(true);
        assert!(!awaits.control.hand_state_over().await, "it has not read the file");
        let (failing, _directory, path) = signed_in(&theirs).await;
        block_writes(&path);
        assert!(!failing.control.hand_state_over().await);
        assert!(!failing.control.hand_state_over().await);
        assert!(!Ours::of(&theirs).control.hand_state_over().await, "there is no file");
    });
}

#[test]
fn after_a_failed_write_no_session_of_the_older_file_counts() {
    run(async {
        let theirs = TestProvider::start().await;
        let (ours, _directory, path) = signed_in(&theirs).await;
        let other = SessionId([8; 16]);
        ours.call(IdentityCall::Exchange(CodeExchange { session: other, ..ours.code(1) })).await;
        ours.sign_out(false).await;
        ours.control.save_state().await;
        ours.ann().unwrap();
        block_writes(&path);
        ours.control.save_state().await;
        let next = Ours::with_file(&theirs, &path);
        next.control.restore(false);
        assert!(next.control.0.sessions.borrow().get(other).is_none());
        assert!(next.is_ended(), "what ended before stays ended");
    });
}

#[test]
fn a_process_replaced_before_its_take_over_takes_nothing_over() {
    run(async {
        let theirs = TestProvider::start().await;
        let (ours, _directory, path) = signed_in(&theirs).await;
        ours.control.hand_state_over().await;
        for is_during_the_read in [false, true] {
            let next = Ours::with_file(&theirs, &path);
            next.control.restore(true);
            let is_whole = if is_during_the_read {
                let takes_over = next.control.take_over_state(true);
                tokio::join!(takes_over, next.control.hand_state_over()).1
            } else {
                let is_whole = next.control.hand_state_over().await;
                next.control.take_over_state(true).await;
                is_whole
            };
            assert!(next.control.0.state.is_handed_over(), "{is_during_the_read}");
            // The read may have ended first, and the hand-over follows it then.
            let is_known = next.control.0.sessions.borrow().get(SESSION).is_some();
            assert_eq!(is_known, is_whole, "{is_during_the_read}");
        }
    });
}

#[test]
fn an_end_that_cannot_be_remembered_outlasts_the_take_over() {
    run(async {
        for of_user in [true, false] {
            let theirs = TestProvider::start().await;
            let (ours, _directory, path) = signed_in(&theirs).await;
            let next = Ours::with_file(&theirs, &path);
            next.control.restore(true);
            match of_user {
                true => drop(next.ann()),
                false => next.sign_out(true).await,
            }
            let full = SessionId([9; 16]);
            ours.control.0.ended.borrow_mut().end(full, NOW_S + 900, NOW_S, &ours.shared);
            ours.control.hand_state_over().await;
            next.control.0.ended.borrow_mut().set_most(usize::from(!of_user));
            next.control.take_over_state(true).await;
            assert_ne!(next.shared.suspect_before_s(), 0, "it had to forget");
            assert!(next.control.0.sessions.borrow().get(SESSION).is_none(), "{of_user}");
        }
    });
}

#[test]
fn a_session_suspect_since_a_later_time_is_checked_after_the_take_over() {
    run(async {
        let theirs = TestProvider::start().await;
        let (ours, _directory, path) = signed_in(&theirs).await;
        let next = Ours::with_file(&theirs, &path);
        next.control.restore(true);
        let ann = [UserSelector::Id("ann".into())];
        let verdict = ended::UserVerdict::Suspect;
        next.control.0.ended.borrow_mut().end_users(&ann, verdict, NOW_S, &next.shared);
        ours.control.hand_state_over().await;
        next.control.take_over_state(true).await;
        assert!(next.shared.update(SESSION).is_none(), "no worker lets it count");
        theirs.json("/token", 400, json!({"error": "invalid_grant"}));
        assert!(is_over(&next.check().await));
    });
}
