//! A port for one server, which nobody else is given meanwhile.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpSocket;

/// A loopback port that is the holder's while this lives, whether its server runs or not.
///
/// A port that was only looked up can be another server's by the time that it is used: then that one
/// answers the health check, and the test goes on with a stranger. A socket that is bound and does not
/// listen keeps Linux from giving the port to anybody who asks for any, and, both being bound to be
/// reused, lets a server have it that asks for this one.
pub(crate) struct Port {
    number: u16,
    _reservation: TcpSocket,
}

impl Port {
    pub(crate) fn reserve() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        // Only now: where `ip_autobind_reuse` is set, it would be given a port that is shared already.
        socket.set_reuseaddr(true).unwrap();
        Self { number: socket.local_addr().unwrap().port(), _reservation: socket }
    }

    pub(crate) fn number(&self) -> u16 {
        self.number
    }
}
