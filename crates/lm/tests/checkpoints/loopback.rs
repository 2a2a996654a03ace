//! A hub on a loopback port, in this process, that tells the truth or any lie a test asks for.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use sha1::Sha1;
use sha2::{Digest, Sha256};

/// One request as the hub saw it.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) authorization: Option<String>,
}

/// What goes over the wire, byte for byte; then the connection is closed.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    Bytes(Vec<u8>),
    /// These bytes, then silence.
    Stall(Vec<u8>, Duration),
    /// These bytes, then zeros for as long as the client takes them.
    Endless(Vec<u8>),
}

impl Reply {
    pub(crate) fn new(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Self {
        let length = body.len().to_string();
        let mut with_length = vec![("Content-Length", length.as_str())];
        with_length.extend_from_slice(headers);
        Self::raw(status, &with_length, body)
    }

    /// Without a Content-Length, unless `headers` has one.
    pub(crate) fn raw(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Self {
        let mut head = format!("HTTP/1.1 {status} X\r\nConnection: close\r\n");
        for (name, value) in headers {
            write!(head, "{name}: {value}\r\n").unwrap();
        }
        head.push_str("\r\n");
        Self::Bytes([head.as_bytes(), body].concat())
    }

    pub(crate) fn ok(body: &[u8]) -> Self {
        Self::new(200, &[], body)
    }

    pub(crate) fn redirect(to: &str) -> Self {
        Self::new(302, &[("Location", to)], b"")
    }
}

/// A running hub; it stops when dropped.
pub(crate) struct Hub {
    pub(crate) url: String,
    requests: Arc<Mutex<Vec<Request>>>,
    stop: Arc<AtomicBool>,
}

impl Hub {
    /// Answers each request with what `answer` makes of it.
    pub(crate) fn start(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (requests, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let answer = Arc::new(answer);
        let (seen, stopped) = (Arc::clone(&requests), Arc::clone(&stop));
        thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    break;
                }
                let (answer, seen) = (Arc::clone(&answer), Arc::clone(&seen));
                thread::spawn(move || {
                    let mut stream = stream.unwrap();
                    if let Some(request) = read_request(&stream) {
                        seen.lock().unwrap().push(request.clone());
                        send(&mut stream, answer(&request));
                    }
                });
            }
        });
        Self { url, requests, stop }
    }

    /// All requests so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the listener, which then sees that it is to stop.
        let _ = TcpStream::connect(self.url.trim_start_matches("http://"));
    }
}

fn read_request(stream: &TcpStream) -> Option<Request> {
    let mut lines = BufReader::new(stream).lines();
    let path = lines.next()?.ok()?.split(' ').nth(1)?.to_owned();
    let mut authorization = None;
    for line in lines {
        let line = line.ok()?;
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(": ")
            && name.eq_ignore_ascii_case("authorization")
        {
            authorization = Some(value.to_owned());
        }
    }
    Some(Request { path, authorization })
}

/// The client may hang up at any time, which is no fault of the test.
fn send(stream: &mut TcpStream, reply: Reply) {
    match reply {
        Reply::Bytes(bytes) => {
            let _ = stream.write_all(&bytes);
        }
        Reply::Stall(bytes, time) => {
            let _ = stream.write_all(&bytes);
            thread::park_timeout(time);
        }
        Reply::Endless(bytes) => {
            let _ = stream.write_all(&bytes);
            while stream.write_all(&[0; 4096]).is_ok() {}
        }
    }
}

/// A model as a hub has it.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) commit: String,
    pub(crate) files: Vec<(String, Vec<u8>)>,
}

impl Model {
    /// One of several models of the same shape; each has contents of its own.
    pub(crate) fn number(n: u8) -> Self {
        let file = |name: &str, bytes: &[u8]| (name.to_owned(), bytes.to_vec());
        let weights: Vec<u8> =
            (0..100_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8 ^ n).collect();
        Self {
            commit: format!("{n:02x}").repeat(20),
            files: vec![
                file("README.md", b"not fetched"),
                file("config.json", format!("{{\"model\": {n}}}").as_bytes()),
                file("generation_config.json", b"{}"),
                file("pytorch_model.bin", b"PK"),
                file("tokenizer.json", format!("{{\"tokenizer\": {n}}}").as_bytes()),
                file("model.safetensors", &weights),
            ],
        }
    }

    pub(crate) fn bytes(&self, name: &str) -> &[u8] {
        &self.files.iter().find(|(found, _)| found == name).unwrap().1
    }

    pub(crate) fn set(&mut self, name: &str, bytes: &[u8]) {
        self.files.retain(|(found, _)| found != name);
        self.files.push((name.to_owned(), bytes.to_vec()));
    }

    /// As the hub's API describes it with `blobs=true`; safetensors are large files.
    pub(crate) fn listing(&self) -> String {
        let siblings: Vec<String> = self.files.iter().map(|(name, bytes)| sibling(name, bytes)).collect();
        format!(r#"{{"id":"o/n","sha":"{}","siblings":[{}]}}"#, self.commit, siblings.join(","))
    }

    /// The truth.
    pub(crate) fn answer(&self, request: &Request) -> Reply {
        let path = request.path.as_str();
        if path.starts_with("/api/models/o/n/revision/") {
            return Reply::ok(self.listing().as_bytes());
        }
        let Some(name) = path.strip_prefix(&format!("/o/n/resolve/{}/", self.commit)) else {
            return match path.strip_prefix("/cdn/") {
                Some(name) => Reply::ok(self.bytes(name)),
                None => Reply::new(404, &[], b"not found"),
            };
        };
        if name.ends_with(".safetensors") {
            Reply::redirect(&format!("/cdn/{name}"))
        } else {
            Reply::ok(self.bytes(name))
        }
    }

    /// The name that a file's contents must have in the cache.
    pub(crate) fn blob(&self, name: &str) -> String {
        blob_name(name, self.bytes(name))
    }
}

fn sibling(name: &str, bytes: &[u8]) -> String {
    let hash = blob_name(name, bytes);
    let n = bytes.len();
    if name.ends_with(".safetensors") {
        let id = "0".repeat(40);
        return format!(
            r#"{{"rfilename":"{name}","blobId":"{id}","size":{n},"lfs":{{"sha256":"{hash}","size":{n},"pointerSize":134}}}}"#
        );
    }
    format!(r#"{{"rfilename":"{name}","blobId":"{hash}","size":{n}}}"#)
}

fn blob_name(name: &str, bytes: &[u8]) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect();
    if name.ends_with(".safetensors") {
        return hex(&Sha256::digest(bytes));
    }
    hex(&Sha1::digest([format!("blob {}\0", bytes.len()).as_bytes(), bytes].concat()))
}
