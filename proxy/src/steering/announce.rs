//! What the log says of the mode of steering.

use super::{CookieSource, NoCookies, Steering};

/// Logs the mode and its reason once it is known.
pub(crate) fn mode(steering: &Steering) {
    let cookies = steering.cookies().source();
    tracing::info!(
        mode = steering.mode().as_str(),
        reason = steering.reason(),
        cookies = cookies.as_str(),
        "steering"
    );
    if cookies == CookieSource::Catcher {
        explain_kernel_log(steering);
    }
}

/// Logs a change while the process runs.
pub(super) fn change(steering: &Steering, found: &Result<CookieSource, NoCookies>) {
    match found {
        Ok(source) => tracing::info!(cookies = source.as_str(), "steering by the kernel"),
        Err(problem) => {
            tracing::warn!(%problem, "no steering by the kernel: connections are handed over");
        }
    }
    if *found == Ok(CookieSource::Catcher) {
        explain_kernel_log(steering);
    }
}

/// Explains, once, a line that the kernel logs when it sends the first cookie.
fn explain_kernel_log(steering: &Steering) {
    if steering.cookies().is_first_use() {
        tracing::info!(
            "the kernel logs \"Possible SYN flooding on port ... Sending cookies.\" once for each \
             address of this process: that is the SYN catcher of kernel steering, and no attack"
        );
    }
}
