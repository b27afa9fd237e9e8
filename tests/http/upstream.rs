//! An upstream on a socket that does what it is told, byte for byte.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// One thing that it does after it has read a request. In the end it closes the connection.
#[derive(Clone)]
pub enum Act {
    Say(String),
    /// Goes on when the test says so.
    Wait,
    /// Does not go on.
    Hang,
    /// Breaks the connection, rather than closing it.
    Reset,
}

#[derive(Clone)]
pub struct Upstream {
    pub address: SocketAddr,
    go_on: Arc<Semaphore>,
    requests: Arc<Mutex<Vec<String>>>,
}

pub fn say(text: impl Into<String>) -> Act {
    Act::Say(text.into())
}

/// A response with a length.
pub fn whole(status: &str, body: &str) -> Act {
    let length = body.len();
    say(format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}"))
}

/// The head of a response in chunks.
pub fn head(status: &str) -> Act {
    say(format!("HTTP/1.1 {status}\r\ntransfer-encoding: chunked\r\n\r\n"))
}

pub fn chunk(text: &str) -> Act {
    say(format!("{:x}\r\n{text}\r\n", text.len()))
}

/// The last chunk.
pub fn end() -> Act {
    say("0\r\n\r\n")
}

impl Upstream {
    /// Each connection plays the acts.
    pub async fn start(acts: Vec<Act>) -> Upstream {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (go_on, requests) = (Arc::new(Semaphore::new(0)), Arc::default());
        let upstream = Upstream { address, go_on, requests };
        let play = upstream.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(play.clone().play(stream, acts.clone()));
            }
        });
        upstream
    }

    /// Lets that many waits go on.
    pub fn go_on(&self, waits: usize) {
        self.go_on.add_permits(waits);
    }

    /// The requests that it has read, heads and bodies.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    async fn play(self, mut stream: TcpStream, acts: Vec<Act>) -> std::io::Result<()> {
        let request = read_request(&mut stream).await?;
        self.requests.lock().unwrap().push(request);
        for act in acts {
            match act {
                Act::Say(text) => stream.write_all(text.as_bytes()).await?,
                Act::Wait => self.go_on.acquire().await.unwrap().forget(),
                Act::Hang => std::future::pending().await,
                Act::Reset => return stream.set_zero_linger(),
            }
        }
        stream.shutdown().await?;
        // Until the other side has closed too: what was said is not lost to a reset.
        while stream.read(&mut [0; 1024]).await? > 0 {}
        Ok(())
    }
}

async fn read_request(stream: &mut TcpStream) -> std::io::Result<String> {
    let (mut read, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&read).to_ascii_lowercase();
        if let Some(head) = text.find("\r\n\r\n") {
            let length = text.split("content-length: ").nth(1);
            let length = length.map_or(0, |rest| rest.split('\r').next().unwrap().parse().unwrap());
            if read.len() >= head + 4 + length {
                return Ok(text);
            }
        }
        match stream.read(&mut piece).await? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            count => read.extend_from_slice(&piece[..count]),
        }
    }
}
