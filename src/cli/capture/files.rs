//! The files of a capture: one, or a ring of them.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::cli::Failure;
use crate::io::pcapng::{Enhanced, LinkType, Writer};

/// When a file is full, and how many are kept.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Ring {
    pub(super) bytes: Option<u64>,
    pub(super) time: Option<Duration>,
    pub(super) keep: Option<u32>,
}

impl Ring {
    fn turns(&self) -> bool {
        self.bytes.is_some() || self.time.is_some()
    }
}

type Sink = Box<dyn Write>;

/// A file that can't be written to any further. It ends behind the last packet that it took whole.
#[derive(Debug, thiserror::Error)]
#[error("{} can't be written any further: {why}", name.display())]
pub(super) struct Spoilt {
    name: PathBuf,
    pub(super) why: io::Error,
}

/// Where frames go.
pub(super) struct Files {
    path: PathBuf,
    snap: usize,
    ring: Ring,
    /// The number of the file that is written to.
    number: u32,
    since: Instant,
    writer: Option<Writer<Sink>>,
    /// What is written to, where it is a file that can be cut: no pipe and no device.
    file: Option<File>,
    /// How much of the file is known to be there.
    sure: u64,
}

impl Files {
    /// Begins the first file.
    pub(super) fn create(path: &Path, snap: usize, ring: Ring) -> Result<Self, Failure> {
        let mut files = Files {
            path: path.to_owned(),
            snap,
            ring,
            number: 0,
            since: Instant::now(),
            writer: None,
            file: None,
            sure: 0,
        };
        files.open().map_err(|e| Failure(format!("{} can't be written: {e}", files.shown().display())))?;
        Ok(files)
    }

    /// A frame.
    pub(super) fn packet(&mut self, name: &str, kind: LinkType, packet: Enhanced<'_>) -> Result<(), Spoilt> {
        if self.is_full() {
            self.turn().map_err(|e| self.spoilt(e))?;
        }
        let written = self.writer.as_mut().map_or(Ok(()), |w| w.packet(name, kind, packet));
        written.map_err(|e| self.spoilt(e))
    }

    /// Frames that are missing.
    pub(super) fn missed(&mut self, n: u64) {
        if let Some(writer) = &mut self.writer {
            writer.missed(n);
        }
    }

    /// Sees to it that what was written can be read.
    pub(super) fn flush(&mut self) -> Result<(), Spoilt> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        match writer.flush() {
            Ok(()) => self.sure = writer.bytes(),
            Err(e) => return Err(self.spoilt(e)),
        }
        Ok(())
    }

    /// Ends the file.
    pub(super) fn finish(mut self) -> Result<(), Spoilt> {
        self.close().map_err(|e| self.spoilt(e))
    }

    /// Gives a file up: what it has of a packet that it did not take whole is cut off.
    fn spoilt(&mut self, why: io::Error) -> Spoilt {
        // What is still held back goes the way of the rest.
        self.writer = None;
        if let Some(file) = self.file.take()
            && file.metadata().is_ok_and(|m| m.len() > self.sure)
        {
            // Where even that fails, readers say where it breaks off.
            file.set_len(self.sure).ok();
        }
        Spoilt { name: self.shown(), why }
    }

    fn is_full(&self) -> bool {
        let bytes = self.writer.as_ref().map_or(0, Writer::bytes);
        self.ring.bytes.is_some_and(|most| bytes >= most)
            || self.ring.time.is_some_and(|most| self.since.elapsed() >= most)
    }

    fn turn(&mut self) -> io::Result<()> {
        self.close()?;
        self.number = self.number.wrapping_add(1);
        if let Some(keep) = self.ring.keep {
            self.number %= keep;
        }
        self.open()
    }

    fn open(&mut self) -> io::Result<()> {
        let sink: Sink = match self.is_stdout() {
            true => Box::new(io::stdout()),
            false => {
                let file = File::create(self.name())?;
                // By its name it might be another by then, and a pipe without a reader is waited at when it is opened.
                self.file = file.metadata()?.is_file().then(|| file.try_clone()).transpose()?;
                Box::new(file)
            }
        };
        self.writer = Some(Writer::new(Box::new(BufWriter::new(sink)) as Sink, self.snap)?);
        self.since = Instant::now();
        self.sure = 0;
        Ok(())
    }

    fn close(&mut self) -> io::Result<()> {
        self.writer.take().map_or(Ok(()), |w| w.finish().map(drop))?;
        self.file = None;
        Ok(())
    }

    fn is_stdout(&self) -> bool {
        self.path.as_os_str() == "-"
    }

    /// The file, as it is called when something is said of it.
    fn shown(&self) -> PathBuf {
        if self.is_stdout() { "standard output".into() } else { self.name() }
    }

    /// The file's name: with its number before the extension, if there are several. Names sort as the numbers do.
    fn name(&self) -> PathBuf {
        if !self.ring.turns() {
            return self.path.clone();
        }
        let digits = self.ring.keep.map_or(5, |keep| keep.saturating_sub(1).to_string().len().max(2));
        let number = format!("{:0digits$}", self.number);
        let stem = self.path.file_stem().unwrap_or_default().to_string_lossy();
        let name = match self.path.extension() {
            Some(extension) => format!("{stem}.{number}.{}", extension.to_string_lossy()),
            None => format!("{stem}.{number}"),
        };
        self.path.with_file_name(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(files: &mut Files, n: usize) {
        let bytes = [0; 1_000];
        for _ in 0..n {
            let packet = Enhanced { kept: &bytes, original: 1_000, ..Enhanced::default() };
            files.packet("lan", LinkType::Ethernet, packet).unwrap();
        }
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut all: Vec<_> =
            std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        all.sort();
        all
    }

    #[test]
    fn a_ring_keeps_as_many_as_it_should() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.pcapng");
        let ring = Ring { bytes: Some(10_000), keep: Some(3), ..Ring::default() };
        let mut files = Files::create(&path, 2_000, ring).unwrap();
        write(&mut files, 95);
        files.finish().unwrap();
        assert_eq!(names(dir.path()), ["x.00.pcapng", "x.01.pcapng", "x.02.pcapng"]);
        for name in names(dir.path()) {
            let file = std::fs::read(dir.path().join(name)).unwrap();
            assert!(file.len() < 12_000 && file[..4] == 0x0a0d_0d0a_u32.to_ne_bytes());
            // Each is whole in itself.
            assert_eq!(file[file.len() - 4..], file[file.len() - 52..][4..8], "it ends with its statistics");
        }
    }

    #[test]
    fn a_file_that_takes_no_more_is_named_and_ends_behind_a_whole_packet() {
        let full = Path::new("/dev/full");
        let mut files = Files::create(full, 100, Ring::default()).unwrap();
        write(&mut files, 3);
        let spoilt = files.flush().unwrap_err();
        assert!(
            spoilt.to_string().starts_with("/dev/full can't be written any further: No space"),
            "{spoilt}"
        );
        files.finish().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.pcapng");
        let mut files = Files::create(&path, 100, Ring::default()).unwrap();
        write(&mut files, 3);
        files.flush().unwrap();
        let whole = std::fs::metadata(&path).unwrap().len();
        write(&mut files, 20);
        files.spoilt(io::Error::other("no more"));
        files.finish().unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), whole);
    }

    #[test]
    fn a_pipe_that_nobody_reads_any_more_is_given_up_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        // Opened both ways, it waits for nobody at the other end.
        let reader = File::options().read(true).write(true).open(&path).unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut files = Files::create(&path, 100, Ring::default()).unwrap();
            drop(reader);
            tell.send(files.spoilt(io::Error::other("no more")).to_string())
        });
        let said = told.recv_timeout(Duration::from_secs(60)).expect("it waits for a reader");
        assert!(said.ends_with("pipe can't be written any further: no more"), "{said}");
    }

    #[test]
    fn one_file_has_its_own_name_and_what_can_t_be_written_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.pcapng");
        let mut files = Files::create(&path, 100, Ring::default()).unwrap();
        write(&mut files, 3);
        files.finish().unwrap();
        assert_eq!(names(dir.path()), ["x.pcapng"]);
        let no = Files::create(&dir.path().join("no/x"), 100, Ring::default());
        assert!(no.err().unwrap().0.contains("no/x can't be written: No such file"));
    }
}
