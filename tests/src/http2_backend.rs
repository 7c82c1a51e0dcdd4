//! A scripted upstream that speaks HTTP/2 without TLS.

use std::{net::SocketAddr, sync::Arc, thread};

use bytes::Bytes;
use h2::{RecvStream, server::SendResponse};
use http::{Request, Response};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Builder,
    sync::oneshot,
    task::JoinSet,
};

use crate::http2::{Content, receive};

/// Answers a request, which was received whole.
type Script = dyn Fn(&Request<Content>) -> Response<Content> + Send + Sync;

/// A running upstream; stops when dropped, its connections with it.
#[derive(Debug)]
pub struct Http2Backend {
    address: SocketAddr,
    _stop: oneshot::Sender<()>,
}

impl Http2Backend {
    /// Serves HTTP/2 with prior knowledge, by a script that runs for each request.
    ///
    /// # Panics
    /// When there is no port.
    pub fn start(
        script: impl Fn(&Request<Content>) -> Response<Content> + Send + Sync + 'static,
    ) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port for an upstream");
        let address = listener.local_addr().expect("the port of an upstream");
        listener.set_nonblocking(true).expect("a listener for tokio");
        let (stop, stopped) = oneshot::channel::<()>();
        let script: Arc<Script> = Arc::new(script);
        thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).expect("a listener for tokio");
                let mut connections = JoinSet::new();
                let accept = async {
                    while let Ok((tcp, _)) = listener.accept().await {
                        connections.spawn(serve(tcp, Arc::clone(&script)));
                    }
                };
                tokio::select! {
                    () = accept => {}
                    _ = stopped => {}
                }
            });
        });
        Self { address, _stop: stop }
    }

    /// The URL for a route's `to`.
    pub fn url(&self) -> String {
        format!("h2c://{}", self.address)
    }
}

async fn serve(tcp: TcpStream, script: Arc<Script>) {
    let Ok(mut connection) = h2::server::handshake(tcp).await else { return };
    let mut streams = JoinSet::new();
    while let Some(Ok((request, respond))) = connection.accept().await {
        let script = Arc::clone(&script);
        streams.spawn(async move { drop(answer(request, respond, &*script).await) });
    }
}

async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    script: &Script,
) -> Result<(), h2::Error> {
    let (head, stream) = request.into_parts();
    let request = Request::from_parts(head, receive(stream).await?);
    let (head, content) = script(&request).into_parts();
    let is_empty = content.is_empty();
    let mut stream = respond.send_response(Response::from_parts(head, ()), is_empty)?;
    if is_empty { Ok(()) } else { content.send(&mut stream) }
}
