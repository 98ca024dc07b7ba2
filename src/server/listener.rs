//! Sockets: HTTP/1.1, and HTTP/2 with prior knowledge, on one port.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};
use tower::{Service, ServiceExt};

use super::io::StallGuard;
use super::open::Error;
use crate::layers::Peer;
use crate::protocol::{Body, Request, Response};
use crate::store::SendfileIo;

/// Connections that the kernel holds until they are accepted.
const BACKLOG: u32 = 4096;
/// How long a connection may say nothing: before its first request, within a
/// head, and between two requests.
const QUIET: Duration = Duration::from_secs(90);
/// Headers of one request, at most.
const MAX_HEADERS: usize = 256;

/// A socket that is ours already, so that a taken port is known before anything starts.
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
}

/// Lets the process hold as many connections and files open as it may: the soft
/// limit is often 1024, which a burst of clients passes.
pub(super) fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, current = ?limit.current, "the limit of open files could not be raised");
    }
}

/// Binds the address; port 0 takes any that is free.
///
/// # Errors
/// [`Error::Bind`] names the address and what to do.
pub async fn bind(host: IpAddr, port: u16) -> Result<Bound, Error> {
    let address = SocketAddr::new(host, port);
    let open = || -> io::Result<Bound> {
        let socket = if host.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let listener = socket.listen(BACKLOG)?;
        let address = listener.local_addr()?;
        Ok(Bound { listener, address })
    };
    open().map_err(|source| Error::Bind { address, source })
}

impl Bound {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` is done, then takes no more connections and lets what
    /// is in flight finish, for `drain` at most.
    pub(super) async fn serve<S>(self, service: S, stop: impl Future<Output = ()>, drain: Duration)
    where
        S: Service<Request, Response = Response, Error = Infallible, Future: Send> + Clone + Send + 'static,
    {
        let http = http();
        let connections = GracefulShutdown::new();
        let mut stop = pin!(stop);
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = &mut stop => break,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let connection = connection(&http, stream, peer, service.clone(), &connections);
                    tokio::spawn(connection);
                }
                // Out of file descriptors, or the client is gone already: the next one may do.
                Err(error) => {
                    tracing::warn!(%error, "could not accept a connection");
                    sleep(Duration::from_millis(50)).await;
                }
            }
        }
        drop(self.listener);
        tracing::info!("draining");
        if timeout(drain, connections.shutdown()).await.is_err() {
            tracing::warn!("requests were still in flight at the deadline and were cut off");
        }
    }
}

fn http() -> Builder<TokioExecutor> {
    let mut http = Builder::new(TokioExecutor::new());
    http.http1().timer(TokioTimer::new()).header_read_timeout(QUIET).max_headers(MAX_HEADERS);
    http.http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(QUIET)
        .initial_stream_window_size(1024 * 1024)
        .initial_connection_window_size(2 * 1024 * 1024)
        .max_header_list_size(128 * 1024);
    http
}

fn connection<S>(
    http: &Builder<TokioExecutor>,
    stream: TcpStream,
    peer: SocketAddr,
    service: S,
    connections: &GracefulShutdown,
) -> impl Future<Output = ()> + Send + use<S>
where
    S: Service<Request, Response = Response, Error = Infallible, Future: Send> + Clone + Send + 'static,
{
    let http = http.clone();
    let watcher = connections.watcher();
    async move {
        // Head and body go out at once; waiting to fill a packet costs 40 ms.
        if stream.set_nodelay(true).is_err() || !matches!(timeout(QUIET, stream.readable()).await, Ok(Ok(()))) {
            return;
        }
        let service =
            TowerToHyperService::new(service.map_request(move |request: http::Request<hyper::body::Incoming>| {
                let mut request = request.map(Body::Incoming);
                request.extensions_mut().insert(Peer(peer));
                request
            }));
        let connection = http.serve_connection(StallGuard::new(SendfileIo::new(stream), QUIET), service).into_owned();
        // Boxed, since it would be in this future twice: as what is handed over, and as what is waited for.
        let connection = Box::pin(watcher.watch(connection));
        // A client that breaks off, or speaks TLS here, is no error of ours (R-PNG-06, R-GEN-15).
        if let Err(error) = connection.await {
            tracing::debug!(%peer, error = &*error, "a connection ended");
        }
    }
}
