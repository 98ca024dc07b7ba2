//! Finds out who asks from where, and under which address they see us.
//!
//! Forwarded headers count only where the peer is a trusted proxy; from anyone
//! else they are ignored, so nobody can pretend to another address or make us
//! write a challenge that points elsewhere (R-LOC-08, R-LOC-09).

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::{FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue};
use http::uri::Authority;
use ipnet::IpNet;
use tower::{Layer, Service};
use uuid::Uuid;

use crate::protocol::headers::REQUEST_ID;
use crate::protocol::{Origin, Request, RequestId, Response};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The other end of the connection; the listener adds it to every request.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// What the layer goes by.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Where clients reach the registry, if that is configured: `https://registry.example`.
    pub public_url: Option<Arc<str>>,
    /// Whose forwarded headers count.
    pub trusted_proxies: Vec<IpNet>,
}

/// Adds [`Origin`] to the request, and the request id to the reply.
#[derive(Debug, Clone)]
pub struct OriginLayer {
    options: Arc<Options>,
}

impl OriginLayer {
    /// A layer that goes by these options.
    pub fn new(options: Options) -> Self {
        Self { options: Arc::new(options) }
    }
}

/// See [`OriginLayer`].
#[derive(Debug, Clone)]
pub struct WithOrigin<S> {
    inner: S,
    options: Arc<Options>,
}

impl<S> Layer<S> for OriginLayer {
    type Service = WithOrigin<S>;
    fn layer(&self, inner: S) -> WithOrigin<S> {
        WithOrigin { inner, options: self.options.clone() }
    }
}

impl<S> Service<Request> for WithOrigin<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> S::Future {
        let origin = self.options.origin_of(&request);
        request.extensions_mut().insert(origin);
        self.inner.call(request)
    }
}

impl Options {
    fn origin_of(&self, request: &Request) -> Origin {
        let peer =
            request.extensions().get::<Peer>().map_or(IpAddr::from([0, 0, 0, 0]), |peer| peer.0.ip()).to_canonical();
        let headers = request.headers();
        let trusted = self.trusts(peer);
        let client = if trusted { self.forwarded_client(headers).unwrap_or(peer) } else { peer };
        let id = headers.get(REQUEST_ID).filter(|_| trusted).and_then(well_formed_id);
        let id = RequestId(id.unwrap_or_else(|| Uuid::now_v7().simple().to_string().into()));
        Origin { client, id, base: self.base_of(request, trusted) }
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|network| network.contains(&address))
    }

    /// The nearest address that is no proxy of ours: what stands left of it, anyone may have written,
    /// and so may whoever stands left of what is no address.
    fn forwarded_client(&self, headers: &HeaderMap) -> Option<IpAddr> {
        let lines: Vec<_> = headers.get_all(&X_FORWARDED_FOR).iter().map(HeaderValue::as_bytes).collect();
        let hops = lines.iter().flat_map(|line| line.split(|byte| *byte == b',')).rev();
        hops.map_while(hop).find(|hop| !self.trusts(*hop))
    }

    /// R-LOC-08: configured, else forwarded by one we trust, else as dialled.
    fn base_of(&self, request: &Request, trusted: bool) -> Option<Arc<str>> {
        let headers = request.headers();
        let dialled = match (headers.get(HOST), request.uri().authority()) {
            (Some(host), _) if headers.get_all(HOST).iter().count() == 1 => authority(host.to_str().ok()?)?,
            (None, Some(authority)) => authority.as_str().to_owned(),
            _ => return None,
        };
        if let Some(configured) = &self.public_url {
            return Some(configured.clone());
        }
        let (proto, host) = if trusted { forwarded(headers) } else { (None, None) };
        let host = host.as_deref().and_then(authority).unwrap_or(dialled);
        let proto = proto.filter(|proto| matches!(proto.as_str(), "http" | "https"));
        Some(format!("{}://{host}", proto.as_deref().unwrap_or("http")).into())
    }
}

/// An address, with or without the port that some proxies add.
fn hop(item: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(item).ok()?.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse::<IpAddr>().or_else(|_| text.parse().map(|with_port: SocketAddr| with_port.ip()));
    address.ok().map(|address| address.to_canonical())
}

/// The first element of `Forwarded`, else the first items of `X-Forwarded-*`.
fn forwarded(headers: &HeaderMap) -> (Option<String>, Option<String>) {
    if let Some(first) = first_item(headers, &FORWARDED) {
        let pair = |wanted: &str| {
            first.split(';').filter_map(|pair| pair.split_once('=')).find_map(|(key, value)| {
                key.trim().eq_ignore_ascii_case(wanted).then(|| value.trim().trim_matches('"').to_owned())
            })
        };
        return (pair("proto").map(|proto| proto.to_ascii_lowercase()), pair("host"));
    }
    let proto = first_item(headers, &X_FORWARDED_PROTO).map(str::to_ascii_lowercase);
    (proto, first_item(headers, &X_FORWARDED_HOST).map(str::to_owned))
}

fn first_item<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()?.split(',').next().map(str::trim).filter(|item| !item.is_empty())
}

/// A host with or without a port, nothing that could break out of a quoted string.
fn authority(text: &str) -> Option<String> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'[' | b']');
    let well_formed = !text.is_empty() && text.len() <= 300 && text.bytes().all(allowed);
    let parsed: Authority = Some(text).filter(|_| well_formed)?.parse().ok()?;
    // Not `Authority::port`, to which a port in letters is none.
    let rest = text.get(parsed.host().len()..)?;
    let port_is_good = rest.is_empty() || rest.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    (!parsed.host().is_empty() && port_is_good).then(|| text.to_owned())
}

fn well_formed_id(value: &HeaderValue) -> Option<Arc<str>> {
    let text = value.to_str().ok()?;
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    ((1..=64).contains(&text.len()) && text.bytes().all(allowed)).then(|| text.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Body;

    fn origin(options: &Options, peer: &str, headers: &[(&str, &str)]) -> Origin {
        let mut request = Request::new(Body::Empty);
        for (name, value) in headers {
            request.headers_mut().append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        request.extensions_mut().insert(Peer(SocketAddr::new(peer.parse().unwrap(), 1)));
        options.origin_of(&request)
    }

    fn proxied() -> Options {
        Options { public_url: None, trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()] }
    }

    const FORGED: [(&str, &str); 4] = [
        ("host", "registry.example:5000"),
        ("x-forwarded-for", "1.2.3.4, 9.9.9.9"),
        ("x-forwarded-host", "other.example"),
        ("x-forwarded-proto", "https"),
    ];

    #[test]
    fn a_strangers_forwarded_headers_are_ignored() {
        let found = origin(&proxied(), "192.0.2.1", &FORGED);
        assert_eq!(found.client.to_string(), "192.0.2.1");
        assert_eq!(found.base.as_deref(), Some("http://registry.example:5000"));
    }

    #[test]
    fn a_trusted_proxys_headers_count_as_far_as_it_vouches() {
        let found = origin(&proxied(), "10.1.1.1", &FORGED);
        assert_eq!(found.client.to_string(), "9.9.9.9");
        assert_eq!(found.base.as_deref(), Some("https://other.example"));
        let standard = [("host", "a"), ("forwarded", "for=1.1.1.1;proto=HTTPS;host=\"b.example:444\", for=2.2.2.2")];
        assert_eq!(origin(&proxied(), "10.1.1.1", &standard).base.as_deref(), Some("https://b.example:444"));
        let evil = [("host", "a"), ("x-forwarded-host", "b\", evil=\""), ("x-forwarded-proto", "gopher")];
        assert_eq!(origin(&proxied(), "10.1.1.1", &evil).base.as_deref(), Some("http://a"));
    }

    #[test]
    fn what_is_no_address_hides_nothing_that_stands_right_of_it() {
        let client = |lines: &[&[u8]]| {
            let mut request = Request::new(Body::Empty);
            for line in lines {
                request.headers_mut().append(X_FORWARDED_FOR, HeaderValue::from_bytes(line).unwrap());
            }
            request.extensions_mut().insert(Peer(SocketAddr::new("10.1.1.1".parse().unwrap(), 1)));
            proxied().origin_of(&request).client.to_string()
        };
        assert_eq!(client(&[b"\xff, 203.0.113.9"]), "203.0.113.9");
        assert_eq!(client(&[b"1.2.3.4", b"\xff, 203.0.113.9"]), "203.0.113.9");
        assert_eq!(client(&[b"1.2.3.4", b"\xff"]), "10.1.1.1");
        assert_eq!(client(&[b"1.2.3.4, unknown, 10.2.2.2"]), "10.1.1.1");
        assert_eq!(client(&[b"203.0.113.9:5678, 10.2.2.2:443"]), "203.0.113.9");
        assert_eq!(client(&[b"[2001:db8::1]:443"]), "2001:db8::1");
        assert_eq!(client(&[b"[2001:db8::1]"]), "2001:db8::1");
        assert_eq!(client(&[b"::ffff:203.0.113.9"]), "203.0.113.9");
    }

    #[test]
    fn a_configured_url_wins_and_a_bad_host_is_none() {
        let configured = Options { public_url: Some("https://r.example".into()), ..proxied() };
        assert_eq!(origin(&configured, "10.1.1.1", &FORGED).base.as_deref(), Some("https://r.example"));
        for host in ["", "a b", "a\"b", "user@host", "a/b", "host:", "host:99999999", "[::1"] {
            assert!(origin(&proxied(), "10.1.1.1", &[("host", host)]).base.is_none(), "{host}");
        }
        assert!(origin(&proxied(), "10.1.1.1", &[]).base.is_none());
        assert!(origin(&proxied(), "10.1.1.1", &[("host", "a"), ("host", "b")]).base.is_none());
        assert!(origin(&proxied(), "10.1.1.1", &[("host", "[::1]:5000")]).base.is_some());
    }
}
