use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinHandle;

use crate::harness::{Client, REQUEST_ID};

/// A reply, all there.
pub(super) type Answer = Response<Bytes>;

/// A registry without one of its defences: the real one, behind somebody who meddles.
pub(super) struct Weakened {
    port: u16,
    task: JoinHandle<()>,
}

/// What the meddler does.
pub(super) trait Meddler: Send + Sync + 'static {
    /// Changes a request, or answers it himself.
    fn before(&self, _request: &mut Parts) -> Option<Answer> {
        None
    }

    /// Changes the reply to it.
    fn after(&self, _request: &Parts, _reply: &mut Answer) {}

    /// Waits before the reply goes out.
    fn delay(&self, _request: &Parts) -> std::time::Duration {
        std::time::Duration::ZERO
    }
}

impl Weakened {
    /// The registry that the client speaks to, with that meddler before it.
    pub(super) async fn before(client: &Client, meddler: impl Meddler) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (address, meddler) = (client.address(), Arc::new(meddler));
        let task = tokio::spawn(async move {
            while let Ok((stream, peer)) = listener.accept().await {
                let meddler = meddler.clone();
                let answer = service_fn(move |request| {
                    let meddler = meddler.clone();
                    async move { Ok::<_, Infallible>(pass(peer.ip(), address, &*meddler, request).await.map(Full::new)) }
                });
                tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
            }
        });
        Self { port, task }
    }

    /// The same person, speaking to the weakened registry.
    pub(super) fn seen_by(&self, client: &Client) -> Client {
        client.at_port(self.port)
    }
}

impl Drop for Weakened {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Passes a request on, from the address that it came from: whom the registry sees stays the same.
async fn pass(from: IpAddr, address: SocketAddr, meddler: &dyn Meddler, request: Request<Incoming>) -> Answer {
    let (mut head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    if let Some(answer) = meddler.before(&mut head) {
        return answer;
    }
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    let stream = socket.connect(address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let driver = tokio::spawn(connection);
    let request = Request::from_parts(head.clone(), Full::new(body));
    let (reply, body) = sender.send_request(request).await.unwrap().into_parts();
    let mut reply = Response::from_parts(reply, body.collect().await.unwrap().to_bytes());
    driver.abort();
    meddler.after(&head, &mut reply);
    tokio::time::sleep(meddler.delay(&head)).await;
    reply
}

/// An answer as the registry gives them, with that body.
pub(super) fn answer(status: u16, body: &Value) -> Answer {
    let mut answer = Response::new(Bytes::from(body.to_string()));
    *answer.status_mut() = status.try_into().unwrap();
    for (name, value) in [
        ("content-type", "application/json"),
        ("x-content-type-options", "nosniff"),
        ("docker-distribution-api-version", "registry/2.0"),
        (REQUEST_ID, "weakened"),
    ] {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer
}
