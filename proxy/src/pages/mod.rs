//! The pages that people see: one template for all of them.
//!
//! Pure. Text gets into a page only through [`html`], which escapes it, and addresses only as a
//! [`PageUrl`]. A page has no script and loads nothing, but for the logo of an organization on pages
//! of errors; its styles are named by their digests in the Content-Security-Policy.

mod branding;
mod color;
mod error;
mod gallery;
mod headers;
mod html;
mod mark;
mod moment;
mod page;
mod sign_in;
mod url;

pub(crate) use branding::{Branding, BrandingSpec, MAX_PARAGRAPH};
pub(crate) use color::PageColor;
pub(crate) use error::{CertificateProblem, ErrorPage, Visitor, VisitorCertificate};
pub use gallery::gallery;
pub(crate) use headers::style_source;
pub(crate) use html::{HtmlWriter, shortened};
pub(crate) use page::PageContext;
pub(crate) use sign_in::{AskedProgram, ShortLivedReason, SignInPage, SignedInPerson};
pub(crate) use url::{ImageUrl, PageUrl};

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
