//! Uploads through hyper and a real socket, on lanes.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::thread;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::store::{Lanes, SendfileIo};

/// The names of the threads that something ran on, one after the other.
#[derive(Clone, Default)]
struct Threads(Arc<Mutex<Vec<String>>>);

impl Threads {
    fn here(&self) {
        let mut names = self.0.lock().unwrap();
        let name = thread::current().name().unwrap_or_default().to_owned();
        if names.last() != Some(&name) {
            names.push(name);
        }
    }

    fn seen(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// Pushes what each request brings as the blob that its path names.
async fn push_all(store: Filesystem, threads: Threads, request: Request<Incoming>) -> Response<Empty<Bytes>> {
    threads.here();
    let claimed = request.uri().path()[1..].parse().unwrap();
    let mut body = request.into_body();
    let id = store.start(&owner(), Algorithm::Sha256).await.unwrap();
    let mut session = resume(&store, id).await;
    while let Some(frame) = body.frame().await {
        session.write(frame.unwrap().into_data().unwrap()).await.unwrap();
        threads.here();
    }
    session.commit(&claimed).await.unwrap();
    tokio::spawn({
        let threads = threads.clone();
        async move { threads.here() }
    })
    .await
    .unwrap();
    Response::new(Empty::new())
}

/// Puts bodies over one connection, each in pieces of that length, or as one; where it ran.
async fn put(lanes: &Lanes, store: &Filesystem, bodies: &[(Bytes, Option<usize>)]) -> Vec<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let threads = Threads::default();
    let (seen, store, lanes) = (threads.clone(), store.clone(), lanes.clone());
    let service = service_fn(move |request| {
        let pushed = push_all(store.clone(), seen.clone(), request);
        async { Ok::<_, Infallible>(pushed.await) }
    });
    let connection = http1::Builder::new().serve_connection(SendfileIo::new(stream), service);
    let served = tokio::spawn(async move { lanes.drive(connection).await });
    for (body, piece) in bodies {
        let coding = match piece {
            Some(_) => "transfer-encoding: chunked".to_owned(),
            None => format!("content-length: {}", body.len()),
        };
        let head = format!("PUT /{} HTTP/1.1\r\nhost: here\r\n{coding}\r\n\r\n", digest(Algorithm::Sha256, body));
        client.write_all(head.as_bytes()).await.unwrap();
        match piece {
            None => client.write_all(body).await.unwrap(),
            Some(piece) => {
                for piece in body.chunks(*piece) {
                    client
                        .write_all(&[format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat())
                        .await
                        .unwrap();
                }
                client.write_all(b"0\r\n\r\n").await.unwrap();
            }
        }
        let mut answer = [0; 12];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
        let mut rest = Vec::new();
        while !rest.ends_with(b"\r\n\r\n") {
            rest.push(client.read_u8().await.unwrap());
        }
    }
    drop(client);
    served.await.unwrap().expect("it ended by itself").unwrap();
    threads.seen()
}

/// Long bodies are taken in on a lane, and what comes before and after them is not; the store has them whole.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_upload_moves_to_a_lane_and_back() {
    let directory = tempfile::tempdir().unwrap();
    let (store, lanes) = (open(directory.path()), Lanes::start(2).unwrap());
    let bodies = [
        (content(1, 20_000_001), None),
        (content(2, 1000), None),
        (content(3, 9_000_001), Some(32 * 1024)),
        (content(4, 7_000_001), Some(3001)),
        (content(5, 20_000_001), None),
    ];
    let threads = put(&lanes, &store, &bodies).await;
    let on_lane: Vec<bool> = threads.iter().map(|name| name == "upload").collect();
    assert_eq!(on_lane.iter().filter(|on| **on).count(), 4, "{threads:?}");
    assert!(!on_lane[0] && !on_lane[on_lane.len() - 1], "{threads:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_upload_stays_where_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let (store, lanes) = (open(directory.path()), Lanes::start(1).unwrap());
    let threads = put(&lanes, &store, &[(content(1, 300_000), None), (content(2, 0), None)]).await;
    assert!(!threads.contains(&"upload".to_owned()), "{threads:?}");
}

/// More connections than lanes: each is written where it is received.
#[tokio::test(flavor = "multi_thread")]
async fn connections_share_lanes() {
    let directory = tempfile::tempdir().unwrap();
    let (store, lanes) = (open(directory.path()), Lanes::start(2).unwrap());
    let pushed = (0..6).map(|seed| {
        let (store, lanes) = (store.clone(), lanes.clone());
        let piece = (seed % 2 == 0).then_some(40_000);
        tokio::spawn(async move { put(&lanes, &store, &[(content(seed, 12_345_678), piece)]).await })
    });
    for pushed in pushed.collect::<Vec<_>>() {
        assert!(pushed.await.unwrap().contains(&"upload".to_owned()));
    }
}
