//! A line to PostgreSQL that can be cut, held up and listened to. It knows enough of the protocol for that.

use std::{
    net::{Shutdown, SocketAddr},
    os::fd::OwnedFd,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::SeqCst},
    },
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream, UnixStream},
    task::{JoinHandle, JoinSet},
};

use crate::databases::{TestDatabase, skip};

/// The line to PostgreSQL.
pub struct Line {
    /// Nobody else takes the port while nobody listens on it.
    port: TcpSocket,
    socket: String,
    pub rules: Arc<Rules>,
    /// The listener, by another handle.
    listening: Option<std::net::TcpStream>,
    carrying: Option<JoinHandle<()>>,
}

/// What becomes of the calls.
#[derive(Default)]
pub struct Rules {
    /// The parameter `options` does not arrive, as through a pooler that ignores it.
    pub drops_options: AtomicBool,
    /// So many calls to come are refused, with this SQLSTATE.
    pub refusals: AtomicU32,
    pub refused_with: Mutex<&'static str>,
    /// What is said after a statement that begins so is not heard any more, on either side.
    swallows_after: Mutex<Option<&'static str>>,
    /// Calls with a lower number are not heard any more, on either side.
    heard_from: AtomicUsize,
    calls: AtomicUsize,
    /// What PostgreSQL was asked to answer.
    trips: AtomicUsize,
}

impl Rules {
    /// From now on what follows such a statement is not heard any more.
    pub fn swallow_after(&self, statement: Option<&'static str>) {
        *self.swallows_after.lock().expect("no test has panicked") = statement;
    }

    /// From now on nothing is heard of the calls that there are. New ones are well.
    pub fn swallow_calls(&self) {
        self.heard_from.store(self.calls.load(SeqCst), SeqCst);
    }

    /// From now on nothing is heard of any call, or of none that there was before.
    pub fn swallow_all(&self, is_swallowed: bool) {
        let first = if is_swallowed { usize::MAX } else { self.calls.load(SeqCst) };
        self.heard_from.store(first, SeqCst);
    }

    /// How often PostgreSQL was asked for an answer since this was asked last.
    pub fn trips(&self) -> usize {
        self.trips.swap(0, SeqCst)
    }

    /// Refuses some calls, as PostgreSQL does with this SQLSTATE.
    pub fn refuse(&self, calls: u32, state: &'static str) {
        *self.refused_with.lock().expect("no test has panicked") = state;
        self.refusals.store(calls, SeqCst);
    }

    fn is_last(&self, message: &[u8]) -> bool {
        let statement = self.swallows_after.lock().expect("no test has panicked");
        message[0] == b'Q' && statement.is_some_and(|statement| message[5..].starts_with(statement.as_bytes()))
    }
}

impl Line {
    /// Puts a line between a database and whoever takes its address from now on.
    pub async fn on(database: &mut TestDatabase) -> Option<Self> {
        let Some((name, folder)) = place(&database.url) else {
            skip("PostgreSQL is not reached by a socket");
            return None;
        };
        let port = TcpSocket::new_v4().expect("a socket");
        port.set_reuseaddr(true).expect("it is set");
        port.bind(([127, 0, 0, 1], 0).into()).expect("a port is free");
        let socket = format!("{folder}/.s.PGSQL.5432");
        let mut line = Self { port, socket, rules: Arc::default(), listening: None, carrying: None };
        line.carry().await;
        database.url = format!("postgres://postgres@{}/{name}", line.address());
        Some(line)
    }

    fn address(&self) -> SocketAddr {
        self.port.local_addr().expect("it is bound")
    }

    async fn listen(&mut self) -> TcpListener {
        let listener = TcpListener::bind(self.address()).await.expect("the port is kept for it");
        let listener = listener.into_std().expect("the runtime gives it back");
        self.listening = Some(OwnedFd::from(listener.try_clone().expect("there is a handle")).into());
        TcpListener::from_std(listener).expect("the runtime takes it")
    }

    async fn carry(&mut self) {
        let listener = self.listen().await;
        let (socket, rules) = (self.socket.clone(), Arc::clone(&self.rules));
        self.carrying = Some(tokio::spawn(async move {
            let mut calls = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let server = UnixStream::connect(&socket).await.expect("PostgreSQL is there");
                calls.spawn(call(client, server, Arc::clone(&rules)));
            }
        }));
    }

    /// From now on nobody answers.
    pub async fn cut(&mut self) {
        let carrying = self.carrying.take().expect("it is not cut");
        carrying.abort();
        assert!(carrying.await.expect_err("it ends").is_cancelled());
        // To be closed is not enough: a program that another test starts at this moment has a copy of it for a moment.
        let listening = self.listening.take().expect("it listens");
        listening.shutdown(Shutdown::Both).expect("it listens no longer");
    }

    /// From now on calls are taken, and hear nothing.
    pub async fn hold(&mut self) {
        self.cut().await;
        let listener = self.listen().await;
        self.carrying = Some(tokio::spawn(async move {
            let mut calls = Vec::new();
            while let Ok((call, _)) = listener.accept().await {
                calls.push(call);
            }
        }));
    }

    pub async fn mend(&mut self) {
        if self.carrying.is_some() {
            self.cut().await;
        }
        self.carry().await;
    }
}

/// The name of a database, and the folder of the socket by which its server is reached.
pub fn place(url: &str) -> Option<(&str, &str)> {
    let (address, options) = url.split_once('?')?;
    let folder = options.split('&').find_map(|option| option.strip_prefix("host="))?;
    Some((address.rsplit_once('/')?.1, folder))
}

async fn call(mut client: TcpStream, server: UnixStream, rules: Arc<Rules>) -> Option<()> {
    let number = rules.calls.fetch_add(1, SeqCst);
    let is_refused = rules.refusals.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok();
    let swallowed = AtomicBool::new(false);
    let is_heard = || number >= rules.heard_from.load(SeqCst) && !swallowed.load(SeqCst);
    let (mut from_server, mut to_server) = server.into_split();

    if !is_heard() {
        std::future::pending::<()>().await;
    }
    // Without a secured connection, which has nothing to look at.
    let mut start = frame(&mut client, 0).await?;
    if start[4..8] == 80_877_103_u32.to_be_bytes() {
        client.write_all(b"N").await.ok()?;
        start = frame(&mut client, 0).await?;
    }
    if is_refused {
        let state = *rules.refused_with.lock().expect("no test has panicked");
        let fields = format!("SFATAL\0VFATAL\0C{state}\0Mnot now\0\0");
        let length = u32::try_from(fields.len() + 4).expect("it is short");
        client.write_all(&[b"E", &length.to_be_bytes()[..], fields.as_bytes()].concat()).await.ok()?;
        return Some(());
    }
    if rules.drops_options.load(SeqCst) {
        start = without_options(&start);
    }
    to_server.write_all(&start).await.ok()?;

    let (mut from_client, mut to_client) = client.split();
    let questions = async {
        loop {
            let message = frame(&mut from_client, 1).await;
            if !is_heard() {
                // Neither is the end of the call.
                if message.is_none() {
                    std::future::pending::<()>().await;
                }
                continue;
            }
            let message = message?;
            rules.trips.fetch_add(usize::from(matches!(message[0], b'Q' | b'S')), SeqCst);
            let is_last = rules.is_last(&message);
            swallowed.fetch_or(is_last, SeqCst);
            to_server.write_all(&message).await.ok()?;
        }
    };
    let answers = async {
        let mut bytes = [0; 4096];
        loop {
            let read = from_server.read(&mut bytes).await.ok()?;
            if !is_heard() {
                if read == 0 {
                    std::future::pending::<()>().await;
                }
            } else if read == 0 {
                return Some(());
            } else {
                to_client.write_all(&bytes[..read]).await.ok()?;
            }
        }
    };
    tokio::select! {
        end = questions => end,
        end = answers => end,
    }
}

/// A message: as many bytes for its kind, four for the length of the rest, and the rest.
async fn frame(from: &mut (impl AsyncRead + Unpin), kind: usize) -> Option<Vec<u8>> {
    let mut message = vec![0; kind + 4];
    from.read_exact(&mut message).await.ok()?;
    let length = u32::from_be_bytes(message[kind..].try_into().expect("it has four bytes"));
    message.resize(kind + usize::try_from(length).expect("it fits"), 0);
    from.read_exact(&mut message[kind + 4..]).await.ok()?;
    Some(message)
}

/// A message that begins a session, without the parameter `options`.
fn without_options(start: &[u8]) -> Vec<u8> {
    let parameters: Vec<&[u8]> = start[8..].split(|byte| *byte == 0).collect();
    let mut kept = Vec::new();
    for pair in parameters.chunks(2).filter(|pair| pair.len() == 2 && !pair[0].is_empty() && pair[0] != b"options") {
        kept.extend([pair[0], b"\0", pair[1], b"\0"].concat());
    }
    let length = u32::try_from(8 + kept.len() + 1).expect("it is short");
    [&length.to_be_bytes(), &start[4..8], &kept, b"\0"].concat()
}
