//! As much of HTTP/1.1 as the service speaks: one request a connection.

/// What a connection has brought.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// More is to come.
    Incomplete,
    /// No request.
    Malformed,
    /// A request, and the bytes that it takes.
    Request(Request, usize),
}

/// A request without its body, which nothing here has a use for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    /// Names in lower case.
    headers: Vec<(String, String)>,
}

impl Request {
    /// Names in lower case, and values.
    pub(crate) fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().map(|(name, value)| (&**name, &**value))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut all = self.headers.iter();
        all.find(|(own, _)| own == name).map(|(_, value)| &**value)
    }
}

pub(crate) fn parse(bytes: &[u8]) -> Parsed {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
    let Some(end) = end else {
        return Parsed::Incomplete;
    };
    let Some(head) = bytes.get(..end).and_then(|head| str::from_utf8(head).ok()) else {
        return Parsed::Malformed;
    };
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(path), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Parsed::Malformed;
    };
    if !path.starts_with('/') || !version.starts_with("HTTP/1.") {
        return Parsed::Malformed;
    }
    let mut headers = Vec::new();
    for line in lines {
        let Some((name, value)) = line.split_once(':') else {
            return Parsed::Malformed;
        };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let request = Request {
        method: method.to_owned(),
        path: path.to_owned(),
        headers,
    };
    let body = match request.header("content-length").map(str::parse::<usize>) {
        None => 0,
        Some(Ok(len)) => len,
        Some(Err(_)) => return Parsed::Malformed,
    };
    let taken = (end + 4).saturating_add(body);
    match taken <= bytes.len() {
        true => Parsed::Request(request, taken),
        false => Parsed::Incomplete,
    }
}

/// An answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    kind: &'static str,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// A status and its reason.
    pub(crate) fn new(status: u16) -> Self {
        Self {
            status,
            kind: "text/html",
            headers: Vec::new(),
            body: reason(status).as_bytes().to_vec(),
        }
    }

    pub(crate) fn text(body: String) -> Self {
        Self {
            status: 200,
            kind: "text/plain",
            headers: Vec::new(),
            body: body.into_bytes(),
        }
    }

    pub(crate) fn json(body: String) -> Self {
        Self {
            kind: "application/json",
            ..Self::text(body)
        }
    }

    pub(crate) fn raw(body: Vec<u8>) -> Self {
        Self {
            kind: "application/octet-stream",
            body,
            ..Self::text(String::new())
        }
    }

    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// As it goes out; without the body if only the head was asked for.
    pub(crate) fn bytes(&self, head: bool) -> Vec<u8> {
        let mut text = format!(
            "HTTP/1.1 {} {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nServer: EC2ws\r\n\
             Connection: close\r\n",
            self.status,
            reason(self.status),
            self.kind,
            self.body.len()
        );
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        let mut bytes = text.into_bytes();
        if !head {
            bytes.extend(&self.body);
        }
        bytes
    }
}

const fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        405 => "Method Not Allowed",
        _ => "Not Found",
    }
}
