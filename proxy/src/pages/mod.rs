//! The pages that people see: one template for all of them.
//!
//! Pure. Text gets into a page only through [`html`], which escapes it, and addresses only as a
//! [`PageUrl`]. A page has no script and loads nothing; its one style is named by its digest in
//! the Content-Security-Policy.

mod error;
mod gallery;
mod headers;
mod html;
mod mark;
mod moment;
mod page;
mod sign_in;
mod url;

pub(crate) use error::error_page;
pub use gallery::gallery;
pub(crate) use sign_in::{AskedProgram, ShortLivedReason, SignInPage, SignedInPerson};
pub(crate) use url::PageUrl;

#[cfg(test)]
mod tests;
