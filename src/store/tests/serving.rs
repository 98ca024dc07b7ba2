//! Objects through hyper and a real socket, by sendfile.

use std::convert::Infallible;
use std::io;

use bytes::Bytes;
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::domain::ByteRange;
use crate::store::{SendfileIo, Stored};

/// What a client reads of one answer with this part of the object in it, after the head.
async fn over_http(store: &Filesystem, stored: &Stored, range: Option<ByteRange>) -> io::Result<Vec<u8>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let mut client = TcpStream::connect(listener.local_addr()?).await?;
    let (stream, _) = listener.accept().await?;
    let (store, stored) = (store.clone(), stored.clone());
    let service = service_fn(move |_| {
        let (store, stored) = (store.clone(), stored.clone());
        async move {
            let reader = store.open(&stored.object, stored.size, range).await.unwrap().unwrap();
            Ok::<_, Infallible>(hyper::Response::new(reader.by_sendfile()))
        }
    });
    let connection = tokio::spawn(http1::Builder::new().serve_connection(SendfileIo::new(stream), service));
    client.write_all(b"GET / HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n").await?;
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await?;
    connection.await.unwrap().map_err(io::Error::other)?;
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    Ok(answer.split_off(head))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_from_the_file_is_the_object() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    for len in [0, 1000, 262_145, 7_000_001] {
        let bytes = content(1, len);
        let stored = push(&store, &bytes).await;
        assert!(over_http(&store, &stored, None).await.unwrap() == bytes, "{len}");
        if let Some(range) = ByteRange::within(4097, 6_543_210, stored.size) {
            let part = bytes.slice(4097..=usize::try_from(range.last()).unwrap());
            assert!(over_http(&store, &stored, Some(range)).await.unwrap() == part, "{len}");
        }
    }
}

/// Not cached: the disk is waited for elsewhere, and the bytes are the same.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_cached_is_fetched_first() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let bytes = content(2, 9_000_001);
    let stored = push(&store, &bytes).await;
    let file = std::fs::File::open(directory.path().join("blobs").join(stored.object.as_str())).unwrap();
    let forget = || rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    forget();
    assert!(over_http(&store, &stored, None).await.unwrap() == bytes);
    forget();
    assert!(pull(&store, &stored, None).await == bytes);
    forget();
    assert!(
        pull(&store, &stored, ByteRange::within(5000, 8_000_000, stored.size)).await == bytes.slice(5000..8_000_001)
    );
}

/// R-BLB-09: the connection ends before the promised length.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_cut_under_sendfile_aborts_the_connection() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let stored = push(&store, &content(3, 5_000_000)).await;
    let reader = store.open(&stored.object, stored.size, None).await.unwrap().unwrap().by_sendfile();
    let path = directory.path().join("blobs").join(stored.object.as_str());
    std::fs::File::options().write(true).open(path).unwrap().set_len(100_000).unwrap();
    // As the socket sees it, without reading through the mapping.
    let mut reader = Box::pin(reader);
    assert_eq!(reader.size_hint().exact(), Some(5_000_000));
    assert!(reader.frame().await.unwrap().is_err());
}

/// Whoever does read through the mapping reads the right bytes.
#[tokio::test(flavor = "multi_thread")]
async fn mapped_bytes_are_the_objects_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let bytes: Bytes = content(4, 3_500_000);
    let stored = push(&store, &bytes).await;
    let reader = store.open(&stored.object, stored.size, None).await.unwrap().unwrap().by_sendfile();
    assert!(Box::pin(reader).collect().await.unwrap().to_bytes() == bytes);
}
