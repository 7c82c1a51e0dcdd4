//! A client's request body on its way to the upstream.

use std::{
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use super::{
    connection::{ClientConnection, OpenBody},
    headers::strip_trailers,
    request::drop_odd_names,
    request_config::{CompiledRoute, LocalRequestConfig},
    spec::Underscores,
    upload::UploadProgress,
};
use crate::{
    fields::trim_values,
    upstream::{ReceiveBodyError, ReceivedBody},
};

/// A client's request body. It counts its bytes, and cleans its trailers as the headers were.
#[derive(Debug)]
pub(super) struct DownstreamBody {
    /// Gone once this is dropped.
    incoming: Option<ReceivedBody>,
    open: OpenBody,
    upload: Rc<UploadProgress>,
    config: Rc<LocalRequestConfig>,
    /// The index of its route.
    route: usize,
}

impl DownstreamBody {
    /// The body of a request of this route, and its progress.
    pub(super) fn new(
        incoming: ReceivedBody,
        conn: &Rc<ClientConnection>,
        config: Rc<LocalRequestConfig>,
        route: &CompiledRoute,
    ) -> (DownstreamBody, Rc<UploadProgress>) {
        let upload = Rc::new(UploadProgress::default());
        let open = OpenBody::new(conn);
        let (progress, route) = (Rc::clone(&upload), route.index);
        (DownstreamBody { incoming: Some(incoming), open, upload, config, route }, progress)
    }

    fn account(&self, mut frame: Frame<Bytes>) -> Frame<Bytes> {
        self.upload.progress(frame.data_ref().map_or(0, Bytes::len));
        if let Some(trailers) = frame.trailers_mut() {
            self.clean(trailers);
        }
        frame
    }

    fn clean(&self, trailers: &mut HeaderMap) {
        if self.config.settings.underscores != Underscores::Allow {
            drop_odd_names(trailers);
        }
        trim_values(trailers);
        match self.config.routes.get(self.route) {
            Some(route) => strip_trailers(trailers, route.reserved(&self.config)),
            None => trailers.clear(),
        }
    }
}

impl Body for DownstreamBody {
    type Data = Bytes;
    type Error = ReceiveBodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ReceiveBodyError>>> {
        let this = self.get_mut();
        let Some(incoming) = &mut this.incoming else { return Poll::Ready(None) };
        let Poll::Ready(frame) = Pin::new(incoming).poll_frame(cx) else {
            this.upload.want();
            return Poll::Pending;
        };
        let frame = frame.map(|result| result.map(|frame| this.account(frame)));
        match &frame {
            Some(Err(_)) => this.upload.end(),
            Some(Ok(frame)) if !frame.is_trailers() && !this.is_end_stream() => {}
            _ => {
                this.upload.complete();
                this.open.complete();
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(|incoming| incoming.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map(|incoming| incoming.size_hint()).unwrap_or_default()
    }
}

impl Drop for DownstreamBody {
    fn drop(&mut self) {
        self.upload.end();
        if let Some(incoming) = self.incoming.take_if(|incoming| incoming.is_http2()) {
            self.open.give_up(incoming);
        }
    }
}
