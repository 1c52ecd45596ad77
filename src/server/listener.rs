//! Where the server listens: an address and port, or a socket file.

use std::{
    fs, io,
    net::IpAddr,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

#[cfg(target_os = "linux")]
use socket2::{SockFilter, SockRef};
use tokio::{
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    time::sleep,
};
use tokio_util::either::Either;

use crate::config::ListenAddress;

/// How long the handshake of a connection takes that has begun when the server stops.
const HANDSHAKE: Duration = Duration::from_millis(20);

/// A socket to one client.
pub type Socket = Either<TcpStream, UnixStream>;

/// The address at the other end of a connection: of a client, or of a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

impl Peer {
    /// The one of a socket. A Unix socket has none.
    #[must_use]
    pub fn from_socket(socket: &Socket) -> Option<Self> {
        match socket {
            Either::Left(stream) => stream.peer_addr().ok().map(|address| Self(address.ip())),
            Either::Right(_) => None,
        }
    }
}

/// A socket to all clients that are to come.
#[derive(Debug)]
pub enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

/// The file of a Unix socket, removed when the server ends.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Its device and its number there, which tell it from a file that another server has put in its place.
    id: (u64, u64),
}

impl Listener {
    /// Listens.
    ///
    /// # Errors
    ///
    /// When the address is taken, also by a server that listens on the socket file, or the system refuses it.
    pub async fn bind(address: &ListenAddress) -> io::Result<Self> {
        match address {
            ListenAddress::Tcp(address) => Ok(Self::Tcp(TcpListener::bind(address).await?)),
            ListenAddress::Unix(path) => {
                let listener = bind_unix(path)?;
                let file = SocketFile::new(path)?;
                // Whoever may write to the file may read and write all data: the owner, and a proxy in the owner's
                // group.
                fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
                Ok(Self::Unix(listener, file))
            }
        }
    }

    /// The address as clients write it, with the port that was taken.
    ///
    /// # Errors
    ///
    /// When the system does not know it.
    pub fn url(&self) -> io::Result<String> {
        Ok(match self {
            Self::Tcp(listener) => format!("http://{}", listener.local_addr()?),
            Self::Unix(_, file) => format!("unix:{}", file.path.display()),
        })
    }

    /// The next client.
    ///
    /// # Errors
    ///
    /// When the client has gone already, or the system has no file or memory for it.
    pub async fn accept(&self) -> io::Result<Socket> {
        match self {
            Self::Tcp(listener) => Ok(tcp(listener.accept().await?.0)),
            Self::Unix(listener, _) => Ok(Either::Right(listener.accept().await?.0)),
        }
    }

    /// Closes, and gives the clients who have connected already and whom nobody has accepted. Those who come later are
    /// refused, so that nobody is connected to a server that does not answer any more.
    ///
    /// # Errors
    ///
    /// When the system does not give the listener back.
    pub async fn close(self) -> io::Result<Vec<Socket>> {
        // The system is asked itself: what the runtime knows of the queue may be a moment old.
        Ok(match self {
            Self::Tcp(listener) => {
                if let Err(error) = connect_nobody(&listener) {
                    tracing::debug!(%error, "clients who connect at this moment may be cut off");
                } else {
                    sleep(HANDSHAKE).await;
                }
                let listener = listener.into_std()?;
                let queue = std::iter::from_fn(|| listener.accept().ok());
                queue
                    .filter_map(|(stream, _)| {
                        stream.set_nonblocking(true).ok()?;
                        Some(tcp(TcpStream::from_std(stream).ok()?))
                    })
                    .collect()
            }
            Self::Unix(listener, file) => {
                // Without it nobody finds the socket.
                drop(file);
                let listener = listener.into_std()?;
                let queue = std::iter::from_fn(|| listener.accept().ok());
                queue
                    .filter_map(|(stream, _)| {
                        stream.set_nonblocking(true).ok()?;
                        Some(Either::Right(UnixStream::from_std(stream).ok()?))
                    })
                    .collect()
            }
        })
    }
}

/// Has the system leave out the first packets of new connections (SYN), which clients send again after a second: it
/// refuses them when the listener is closed. Otherwise it would connect clients until then, and reset their connections
/// after they have sent their requests.
#[cfg(target_os = "linux")]
fn connect_nobody(listener: &TcpListener) -> io::Result<()> {
    // Classic BPF. The flags are byte 13 of the header, where SYN is 2 (RFC 9293).
    let program = [
        SockFilter::new(0x30, 0, 0, 13),       // load the byte
        SockFilter::new(0x45, 1, 0, 2),        // without SYN: next line; with it: the line after
        SockFilter::new(0x06, 0, 0, u32::MAX), // take all of the packet
        SockFilter::new(0x06, 0, 0, 0),        // take nothing of it
    ];
    SockRef::from(listener).attach_filter(&program)
}

#[cfg(not(target_os = "linux"))]
fn connect_nobody(_: &TcpListener) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

fn tcp(stream: TcpStream) -> Socket {
    // An answer is written in one go; waiting for more would only delay its last packet. A client that has gone already
    // makes this fail, and the first read as well.
    let _ = stream.set_nodelay(true);
    Either::Left(stream)
}

/// Takes the path, also when a server that has been killed has left its socket file there.
fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_stale(path) => {
            fs::remove_file(path)?;
            UnixListener::bind(path)
        }
        result => result,
    }
}

/// Whether it is a socket that nobody listens on.
fn is_stale(path: &Path) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    is_socket && std::os::unix::net::UnixStream::connect(path).is_err_and(refused)
}

impl SocketFile {
    fn new(path: &Path) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        Ok(Self { id: id(&path)?, path })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if id(&self.path).is_ok_and(|id| id == self.id) {
            // A file that cannot be removed is stale, and the next server replaces it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn id(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}
