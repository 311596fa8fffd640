//! A web server of one test: it serves files from memory, breaks transfers as told, and is a proxy.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What goes wrong with one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection ends after so many bytes of the body.
    Cut(usize),
    /// Another status.
    Status(u16),
    /// The range that was asked for is not looked at.
    NoRange,
    /// Another part than was asked for.
    WrongRange,
}

#[derive(Default)]
struct Content {
    files: HashMap<String, Vec<u8>>,
    faults: HashMap<String, Vec<Fault>>,
    /// Path and range of each request, as they came.
    requests: Vec<String>,
}

/// The server; it runs until the test ends.
#[derive(Clone)]
pub struct Mirror {
    port: u16,
    scheme: &'static str,
    content: Arc<Mutex<Content>>,
}

impl Mirror {
    pub fn start() -> Self {
        Self::serve("http", |stream| stream)
    }

    /// With TLS and this certificate.
    pub fn start_tls(config: rustls::ServerConfig) -> Self {
        let config = Arc::new(config);
        Self::serve("https", move |stream| {
            rustls::StreamOwned::new(rustls::ServerConnection::new(config.clone()).unwrap(), stream)
        })
    }

    fn serve<S: Read + Write>(scheme: &'static str, wrap: impl Fn(TcpStream) -> S + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let content = Arc::new(Mutex::new(Content::default()));
        let mirror = Self { port: listener.local_addr().unwrap().port(), scheme, content };
        let server = mirror.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                // A client that goes away is a case of its own.
                let _ = server.answer(wrap(stream.unwrap()));
            }
        });
        mirror
    }

    pub fn url(&self) -> String {
        format!("{}://localhost:{}", self.scheme, self.port)
    }

    pub fn put(&self, path: &str, data: impl Into<Vec<u8>>) {
        self.content.lock().unwrap().files.insert(path.to_owned(), data.into());
    }

    /// The next requests for this path go wrong so, one after the other.
    pub fn faults(&self, path: &str, faults: &[Fault]) {
        let faults = faults.iter().rev().copied().collect();
        self.content.lock().unwrap().faults.insert(path.to_owned(), faults);
    }

    /// The requests whose path ends so, with their ranges.
    pub fn requests(&self, end: &str) -> Vec<String> {
        let content = self.content.lock().unwrap();
        let fits = |request: &&String| request.split(' ').next().unwrap().ends_with(end);
        content.requests.iter().filter(fits).cloned().collect()
    }

    fn answer(&self, stream: impl Read + Write) -> std::io::Result<()> {
        let mut stream = BufReader::new(stream);
        loop {
            let mut head = Vec::new();
            loop {
                let mut line = String::new();
                if stream.read_line(&mut line)? == 0 {
                    return Ok(());
                }
                if line == "\r\n" {
                    break;
                }
                head.push(line.trim_end().to_owned());
            }
            let words: Vec<&str> = head[0].split(' ').collect();
            if words[0] == "CONNECT" {
                self.content.lock().unwrap().requests.push(format!("CONNECT {}", words[1]));
                stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
                continue;
            }
            let header = |name: &str| {
                head.iter().find_map(|line| line.to_ascii_lowercase().strip_prefix(name).map(str::to_owned))
            };
            return self.get(words[1], header("range: "), stream.get_mut());
        }
    }

    fn get(&self, path: &str, range: Option<String>, stream: &mut impl Write) -> std::io::Result<()> {
        let mut content = self.content.lock().unwrap();
        content.requests.push(range.as_ref().map_or_else(|| path.to_owned(), |range| format!("{path} {range}")));
        let fault = content.faults.get_mut(path).and_then(Vec::pop);
        let file = content.files.get(path).cloned();
        drop(content);
        let Some(file) = file else { return plain(stream, 404) };
        if let Some(Fault::Status(status)) = fault {
            return plain(stream, status);
        }
        let start: Option<usize> =
            range.map(|range| range.strip_prefix("bytes=").unwrap().trim_end_matches('-').parse().unwrap());
        let start = start.filter(|_| fault != Some(Fault::NoRange));
        if start.is_some_and(|start| start >= file.len()) {
            let head = format!("HTTP/1.1 416 Range\r\nContent-Range: bytes */{}\r\nContent-Length: 0\r\n", file.len());
            return write!(stream, "{head}Connection: close\r\n\r\n").and_then(|()| stream.flush());
        }
        let said = if fault == Some(Fault::WrongRange) { start.map(|start| start + 1) } else { start };
        let body = &file[start.unwrap_or(0)..];
        let status = said.map_or_else(
            || "200 OK\r\n".to_owned(),
            |start| format!("206 Partial\r\nContent-Range: bytes {start}-{}/{}\r\n", file.len() - 1, file.len()),
        );
        write!(stream, "HTTP/1.1 {status}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len())?;
        let end = if let Some(Fault::Cut(end)) = fault { end.min(body.len()) } else { body.len() };
        stream.write_all(&body[..end])?;
        stream.flush()
    }
}

fn plain(stream: &mut impl Write, status: u16) -> std::io::Result<()> {
    write!(stream, "HTTP/1.1 {status} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        .and_then(|()| stream.flush())
}
