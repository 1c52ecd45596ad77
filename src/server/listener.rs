//! Where the server listens: an address and port, or a socket file.

use std::{
    fs, io,
    net::IpAddr,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_util::either::Either;

use crate::config::ListenAddress;

/// A socket to one client.
pub type Socket = Either<TcpStream, UnixStream>;

/// The address at the other end of a connection: of a client, or of a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

impl Peer {
    /// The one of a socket. A Unix socket has none.
    #[must_use]
    pub fn of(socket: &Socket) -> Option<Self> {
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

    /// Closes, and gives the clients who have connected already and whom nobody has accepted.
    ///
    /// # Errors
    ///
    /// When the system does not give the listener back.
    pub fn close(self) -> io::Result<Vec<Socket>> {
        // The system is asked itself: what the runtime knows of the queue may be a moment old.
        Ok(match self {
            Self::Tcp(listener) => {
                let listener = listener.into_std()?;
                let queue = std::iter::from_fn(|| listener.accept().ok());
                queue
                    .filter_map(|(stream, _)| {
                        stream.set_nonblocking(true).ok()?;
                        Some(tcp(TcpStream::from_std(stream).ok()?))
                    })
                    .collect()
            }
            Self::Unix(listener, _file) => {
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
