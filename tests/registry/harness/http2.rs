use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::client::Client;
use super::reply::Reply;
use super::rules;

/// One HTTP/2 connection, opened with prior knowledge.
#[derive(Clone)]
pub(crate) struct Http2 {
    sender: SendRequest<Full<Bytes>>,
    authority: String,
    authorization: Option<String>,
}

impl Http2 {
    /// Connects as that client, who presents `authorization` if there is any.
    pub(crate) async fn connect(client: &Client, authorization: Option<String>) -> Self {
        let io = TokioIo::new(client.connect().await);
        let (sender, connection) = handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        Self { sender, authority: client.host(), authorization }
    }

    /// One request on a stream of its own.
    pub(crate) async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let mut sender = self.sender.clone();
        sender.ready().await.unwrap();
        let mut request = Request::builder().method(&method).uri(format!("http://{}{path}", self.authority));
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response =
            sender.send_request(request.body(Full::new(Bytes::copy_from_slice(body))).unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let reply = Reply {
            request: format!("{method} {path} (HTTP/2)"),
            status: head.status.as_u16(),
            headers: head.headers,
            body,
        };
        rules::check(&method, path, &reply);
        reply
    }
}
