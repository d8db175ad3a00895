//! The little HTTP that a probe needs: one request out, one status line in.

use std::net::SocketAddr;

/// A longer status line is no HTTP.
pub(super) const STATUS_LINE_MAX: usize = 1024;

/// How far a response has been understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// More bytes are needed.
    Incomplete,
    /// The status code.
    Code(u16),
    /// Not an HTTP/1 response.
    Malformed,
}

/// The request for `path`.
pub(super) fn request(path: &str, host: SocketAddr) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\
         User-Agent: ELB-HealthChecker/2.0\r\nAccept-Encoding: gzip, compressed\r\n\r\n"
    )
}

/// Reads the status line at the start of `response`.
pub(super) fn status(response: &[u8]) -> Status {
    const VERSION: &[u8] = b"HTTP/1.";
    let known = response.len().min(VERSION.len());
    if response.get(..known) != VERSION.get(..known) {
        return Status::Malformed;
    }
    let Some(end) = response.iter().position(|&byte| byte == b'\n') else {
        return if response.len() < STATUS_LINE_MAX {
            Status::Incomplete
        } else {
            Status::Malformed
        };
    };
    let code = response
        .get(..end)
        .and_then(|line| std::str::from_utf8(line).ok())
        .and_then(|line| line.split_ascii_whitespace().nth(1))
        .filter(|code| code.len() == 3)
        .and_then(|code| code.parse().ok());
    code.map_or(Status::Malformed, Status::Code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_line_is_read_as_it_arrives() {
        for (response, expected) in [
            ("", Status::Incomplete),
            ("HTT", Status::Incomplete),
            ("HTTP/1.1 200 O", Status::Incomplete),
            ("HTTP/1.1 200 OK\r\n", Status::Code(200)),
            ("HTTP/1.0 404 Not Found\nServer: x", Status::Code(404)),
            ("HTTP/1.1 503\r\n", Status::Code(503)),
            ("HTTP/2 200\r\n", Status::Malformed),
            ("SSH-2.0", Status::Malformed),
            ("HTTP/1.1 2000 OK\r\n", Status::Malformed),
            ("HTTP/1.1\r\n", Status::Malformed),
        ] {
            assert_eq!(status(response.as_bytes()), expected, "{response:?}");
        }
        assert_eq!(
            status(&[b"HTTP/1.1 ", &[b'x'; STATUS_LINE_MAX][..]].concat()),
            Status::Malformed
        );
    }
}
