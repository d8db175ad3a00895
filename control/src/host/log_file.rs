//! What hosts' programs print, kept within bounds.
//!
//! A program writes into a pipe; a thread of init reads it into a file, and puts
//! the file aside when it is full: two files at most, however much is printed.

use std::fs::{File, OpenOptions};
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// A file is put aside when it has this many bytes.
pub const LOG_LEN_MAX: u64 = 4 << 20;
/// Read from a program at once.
const CHUNK: usize = 1 << 14;
/// Its thread needs little more than the chunk.
const STACK: usize = 1 << 16;

/// A log and the one that was put aside.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    file: Option<File>,
    len: u64,
    limit: u64,
}

/// A log that several programs' output may go to.
pub type SharedLog = Arc<Mutex<LogFile>>;

/// Where a full log is put aside.
pub fn previous(log: &Path) -> PathBuf {
    let mut name = log.as_os_str().to_owned();
    name.push(".1");
    PathBuf::from(name)
}

impl LogFile {
    /// Opens a log, or goes on with it.
    pub fn open(path: &Path, limit: u64) -> io::Result<Self> {
        let file = append_to(path)?;
        Ok(Self {
            len: file.metadata()?.len(),
            path: path.to_owned(),
            file: Some(file),
            limit,
        })
    }

    /// Appends; what the disk does not take is lost.
    pub fn write(&mut self, bytes: &[u8]) {
        if self.len > 0 && self.len + bytes.len() as u64 > self.limit {
            self.put_aside();
        }
        if let Some(file) = &mut self.file {
            // A full disk must not stop the program.
            if file.write_all(bytes).is_ok() {
                self.len += bytes.len() as u64;
            }
        }
    }

    fn put_aside(&mut self) {
        let moved = std::fs::rename(&self.path, previous(&self.path));
        if moved.is_err() {
            // Then the old lines go.
            let _ = std::fs::remove_file(&self.path);
        }
        self.file = append_to(&self.path).ok();
        self.len = 0;
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// A pipe into a log, for a program to write to.
pub fn pipe_into(log: SharedLog) -> io::Result<PipeWriter> {
    let (reader, writer) = io::pipe()?;
    thread::Builder::new()
        .name("log".to_owned())
        .stack_size(STACK)
        .spawn(move || copy(reader, &log))?;
    Ok(writer)
}

fn copy(mut reader: PipeReader, log: &Mutex<LogFile>) {
    let mut chunk = vec![0; CHUNK];
    loop {
        match reader.read(&mut chunk) {
            // The program, and what it has started, are gone.
            Ok(0) => return,
            Ok(len) => {
                let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
                log.write(chunk.get(..len).unwrap_or_default());
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_two_files_at_most_and_goes_on_where_it_was() {
        let directory = std::env::temp_dir().join(format!("vpclab-log-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("run.log");
        let mut log = LogFile::open(&path, 100).unwrap();
        for n in 0..50u8 {
            log.write(&[n; 30]);
        }
        let len = |path: &Path| std::fs::metadata(path).unwrap().len();
        assert_eq!((len(&path), len(&previous(&path))), (60, 90));
        drop(log);
        let mut log = LogFile::open(&path, 100).unwrap();
        log.write(b"more");
        assert_eq!(len(&path), 64);
        assert!(std::fs::read(&path).unwrap().ends_with(b"more"));
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 2);
        std::fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn what_is_written_to_the_pipe_is_in_the_log() {
        let path = std::env::temp_dir().join(format!("vpclab-pipe-{}", std::process::id()));
        let log = Arc::new(Mutex::new(LogFile::open(&path, 1000).unwrap()));
        let mut pipe = pipe_into(Arc::clone(&log)).unwrap();
        pipe.write_all(b"hello").unwrap();
        drop(pipe);
        // The thread gives its share back when it has read everything.
        while Arc::strong_count(&log) > 1 {
            thread::yield_now();
        }
        assert_eq!(std::fs::read(&path).unwrap(), b"hello");
        std::fs::remove_file(&path).unwrap();
    }
}
