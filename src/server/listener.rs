//! Sockets: HTTP/1.1, and HTTP/2 with prior knowledge, on one port.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::Version;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};
use tower::{Service, ServiceExt};

use super::io::StallGuard;
use super::open::Error;
use super::streams::{Asked, Watch};
use crate::layers::Peer;
use crate::protocol::{Body, Request, Response};
use crate::store::{Lanes, SendfileIo};

/// Connections that the kernel holds until they are accepted.
const BACKLOG: u32 = 4096;
/// How long a connection may say nothing: before its first request, within a
/// head, and between two requests; and how long it may take nothing of a reply.
const QUIET: Duration = Duration::from_secs(90);

/// A socket that is ours already, so that a taken port is known before anything starts.
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
    quiet: Duration,
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
        Ok(Bound { listener, address, quiet: QUIET })
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
    pub(super) async fn serve<S>(self, service: S, lanes: &Lanes, stop: impl Future<Output = ()>, drain: Duration)
    where
        S: Service<Request, Response = Response, Error = Infallible, Future: Send> + Clone + Send + 'static,
    {
        let http = http(self.quiet);
        let connections = GracefulShutdown::new();
        let mut stop = pin!(stop);
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = &mut stop => break,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let connection = connection(&http, stream, peer, self.quiet, service.clone(), &connections, lanes);
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

fn http(quiet: Duration) -> Builder<TokioExecutor> {
    let mut http = Builder::new(TokioExecutor::new());
    // As many headers as hyper takes by itself, which is 100: told a number, it takes two blocks of
    // memory for them from each request, and idle connections were the larger for it.
    http.http1().timer(TokioTimer::new()).header_read_timeout(quiet);
    http.http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(quiet)
        .initial_stream_window_size(1024 * 1024)
        .initial_connection_window_size(2 * 1024 * 1024)
        .max_header_list_size(128 * 1024);
    http
}

fn connection<S>(
    http: &Builder<TokioExecutor>,
    stream: TcpStream,
    peer: SocketAddr,
    quiet: Duration,
    service: S,
    connections: &GracefulShutdown,
    lanes: &Lanes,
) -> impl Future<Output = ()> + Send + use<S>
where
    S: Service<Request, Response = Response, Error = Infallible, Future: Send> + Clone + Send + 'static,
{
    let http = http.clone();
    let (watcher, lanes) = (connections.watcher(), lanes.clone());
    async move {
        // Head and body go out at once; waiting to fill a packet costs 40 ms.
        if stream.set_nodelay(true).is_err() {
            return;
        }
        let watch = Arc::new(Watch::default());
        let watching = watch.clone();
        let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
            watching.asked();
            let asked = (request.version() == Version::HTTP_2).then(|| Asked::begin(watching.clone()));
            let mut request = request.map(Body::Incoming);
            request.extensions_mut().insert(Peer(peer));
            let answer = service.clone().oneshot(request);
            async move {
                let response = answer.await?;
                Ok::<_, Infallible>(match asked {
                    Some(asked) => response.map(|body| asked.reply(body)),
                    None => response,
                })
            }
        });
        let connection = http.serve_connection(StallGuard::new(SendfileIo::new(stream), quiet), service).into_owned();
        let connection = lanes.drive(watcher.watch(connection));
        tokio::select! {
            biased;
            // A client that breaks off, or speaks TLS here, is no error of ours (R-PNG-06, R-GEN-15).
            ended = connection => if let Some(Err(error)) = ended {
                tracing::debug!(%peer, error = &*error, "a connection ended");
            },
            () = watch.keep(quiet) => tracing::debug!(%peer, "nothing was asked on a connection"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use bytes::Bytes;
    use http_body::Frame;
    use http_body_util::{BodyExt, Empty, StreamBody};
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::Instant;

    use super::*;

    const SOON: Duration = Duration::from_millis(300);
    const LONG: Duration = Duration::from_secs(5);

    async fn let_go(open: &AtomicUsize) {
        let none = async {
            while open.load(Ordering::SeqCst) > 0 {
                sleep(SOON / 10).await;
            }
        };
        timeout(LONG, none).await.expect("what is not read is not held");
    }

    /// A listener that answers everything with a body that never ends, and how many of those there are.
    async fn endless() -> (SocketAddr, Arc<AtomicUsize>) {
        struct Counted(Arc<AtomicUsize>);
        impl Drop for Counted {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::SeqCst);
            }
        }
        let (mut bound, open) = (bind([127, 0, 0, 1].into(), 0).await.unwrap(), Arc::new(AtomicUsize::new(0)));
        bound.quiet = SOON;
        let (address, counter) = (bound.address(), open.clone());
        let service = tower::service_fn(move |request: Request| {
            counter.fetch_add(1, Ordering::SeqCst);
            let counted = Counted(counter.clone());
            let frames = futures_util::stream::repeat_with(move || {
                let _held = &counted;
                Ok::<_, Infallible>(Frame::data(Bytes::from_static(&[7; 64 * 1024])))
            });
            let endless = request.uri().path() == "/endless";
            let (large, never) = (request.uri().path() == "/large", request.uri().path() == "/never");
            let body = match (endless, large) {
                (true, _) => Body::stream(StreamBody::new(frames)),
                (_, true) => Body::from(vec![7; 4 << 20]),
                _ => Body::from("done"),
            };
            async move {
                if never {
                    std::future::pending::<()>().await;
                }
                Ok(Response::new(body))
            }
        });
        let lanes = Lanes::start(1).unwrap();
        tokio::spawn(async move { bound.serve(service, &lanes, std::future::pending(), Duration::ZERO).await });
        (address, open)
    }

    /// R-GEN-14: wherever a client stands still before its request is there, it is hung up on.
    #[tokio::test]
    async fn whoever_says_nothing_more_is_hung_up_on() {
        let (address, _) = endless().await;
        for begun in [
            "",
            "G",
            "P",
            "PRI * HT",
            "GET / HTTP/1.1\r\nHost:",
            "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        ] {
            let mut client = TcpStream::connect(address).await.unwrap();
            client.write_all(begun.as_bytes()).await.unwrap();
            let since = Instant::now();
            let ended = timeout(LONG, client.read_to_end(&mut Vec::new())).await;
            assert!(ended.is_ok(), "{begun:?} is waited for without end");
            assert!(since.elapsed() >= SOON, "{begun:?} is given time: {:?}", since.elapsed());
        }
    }

    /// R-GEN-14: a reader may be slow, but must take something now and then.
    #[tokio::test]
    async fn a_slow_reader_is_served_and_a_stalled_one_is_not() {
        let (address, open) = endless().await;
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut some = vec![0; 8 << 20];
        for _ in 0..10 {
            client.read_exact(&mut some).await.unwrap();
            sleep(SOON * 2 / 3).await;
        }
        assert_eq!(open.load(Ordering::SeqCst), 1);
        let_go(&open).await;
    }

    /// The same on a stream of HTTP/2, whose connection is alive.
    #[tokio::test]
    async fn a_stalled_reader_of_http2_is_not_waited_for() {
        let (address, open) = endless().await;
        let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
        let client = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await;
        let (mut client, connection) = client.unwrap();
        tokio::spawn(connection);
        let request = http::Request::get(format!("http://{address}/endless")).body(Empty::<Bytes>::new()).unwrap();
        let mut reply = client.send_request(request).await.unwrap();
        for _ in 0..6 {
            let mut taken = 0;
            while taken < 1 << 20 {
                taken += reply.frame().await.unwrap().unwrap().into_data().unwrap().len();
            }
            sleep(SOON * 2 / 3).await;
        }
        assert_eq!(open.load(Ordering::SeqCst), 1);
        let_go(&open).await;
        drop(reply);
    }

    /// What the stream holds itself goes with the connection, also where the body was all there.
    #[tokio::test]
    async fn a_connection_whose_streams_are_stuck_is_ended() {
        for path in ["/endless", "/large"] {
            let (address, open) = endless().await;
            let (ended, reply, client) = stuck(address, path).await;
            assert!(timeout(LONG, ended).await.is_ok(), "{path} is held for ever");
            let_go(&open).await;
            drop((reply, client));
        }
    }

    /// But not from under others, which a proxy may send over the same one.
    #[tokio::test]
    async fn a_stuck_stream_does_not_end_what_else_goes_on() {
        let (address, _) = endless().await;
        let (ended, _reply, mut client) = stuck(address, "/large").await;
        let awaited = client.send_request(asking(address, "/never"));
        assert!(timeout(SOON * 6, awaited).await.is_err(), "the connection was ended under it");
        assert!(timeout(LONG, ended).await.is_ok(), "nothing else goes on any more");
    }

    type Stuck = (
        tokio::task::JoinHandle<hyper::Result<()>>,
        http::Response<hyper::body::Incoming>,
        hyper::client::conn::http2::SendRequest<Empty<Bytes>>,
    );

    /// A connection of HTTP/2 with a reply that nobody reads.
    async fn stuck(address: SocketAddr, path: &str) -> Stuck {
        let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
        let (mut client, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
        let ended = tokio::spawn(connection);
        let reply = client.send_request(asking(address, path)).await.unwrap();
        (ended, reply, client)
    }

    fn asking(address: SocketAddr, path: &str) -> http::Request<Empty<Bytes>> {
        http::Request::get(format!("http://{address}{path}")).body(Empty::new()).unwrap()
    }
}
