use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// Names a request in every log line and to its client (I8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(pub Arc<str>);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a request comes from, and under which address its client sees us.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The client's address; a trusted proxy's word for it where one stands between.
    pub client: IpAddr,
    pub id: RequestId,
    /// Scheme, host and port that the client dialled, with the path prefix of a
    /// configured public URL and without a slash at its end (R-LOC-08). `None`
    /// where the request names no valid host (R-LOC-09).
    pub base: Option<Arc<str>>,
}
