//! A client's request body on its way to the upstream.

use std::{
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::{
    headers::strip_trailers,
    request::drop_odd_names,
    request_config::{CompiledRoute, LocalRequestConfig},
    spec::Underscores,
    upload::UploadProgress,
};
use crate::fields::trim_values;

/// A client's request body. It counts its bytes, and cleans its trailers as the headers were.
#[derive(Debug)]
pub(super) struct DownstreamBody {
    incoming: Incoming,
    upload: Rc<UploadProgress>,
    config: Rc<LocalRequestConfig>,
    /// The index of its route.
    route: usize,
}

impl DownstreamBody {
    /// The body of a request of this route, and its progress.
    pub(super) fn new(
        incoming: Incoming,
        config: Rc<LocalRequestConfig>,
        route: &CompiledRoute,
    ) -> (DownstreamBody, Rc<UploadProgress>) {
        let upload = Rc::new(UploadProgress::default());
        (DownstreamBody { incoming, upload: upload.clone(), config, route: route.index }, upload)
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
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        let Poll::Ready(frame) = Pin::new(&mut this.incoming).poll_frame(cx) else {
            this.upload.want();
            return Poll::Pending;
        };
        let frame = frame.map(|result| result.map(|frame| this.account(frame)));
        if !matches!(frame, Some(Ok(_))) || this.incoming.is_end_stream() {
            this.upload.end();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for DownstreamBody {
    fn drop(&mut self) {
        self.upload.end();
    }
}
