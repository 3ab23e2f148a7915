//! A running image.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// A guest under the bundled tender. It ends with its handle.
pub(super) struct Guest {
    name: &'static str,
    child: Child,
    booted: Instant,
    lines: Receiver<String>,
}

impl Guest {
    /// Boots `image` with `arguments`, its network being `wire`.
    pub(super) fn boot(
        name: &'static str,
        tender: &Path,
        wire: &str,
        image: &Path,
        arguments: &[&str],
    ) -> Result<Self, String> {
        let booted = Instant::now();
        let mut child = Command::new(tender)
            .args(["--mem=64", wire])
            .arg(image)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("the tender cannot be started: {error}"))?;
        let (sender, lines) = mpsc::channel();
        if let Some(console) = child.stdout.take() {
            // Ends with the guest, or when nobody listens any more.
            thread::spawn(move || {
                let lines = BufReader::new(console).lines().map_while(Result::ok);
                for line in lines {
                    if sender.send(line).is_err() {
                        return;
                    }
                }
            });
        }
        Ok(Self {
            name,
            child,
            booted,
            lines,
        })
    }

    /// How long ago its tender was started.
    pub(super) fn age(&self) -> Duration {
        self.booted.elapsed()
    }

    /// The next line of its console; `None` when there will be no more.
    pub(super) fn next_line(&mut self, patience: Duration) -> Result<Option<String>, String> {
        match self.lines.recv_timeout(patience) {
            Ok(line) => Ok(Some(line)),
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(RecvTimeoutError::Timeout) => Err(format!(
                "the {} has been silent for {} s",
                self.name,
                patience.as_secs()
            )),
        }
    }

    /// Waits for its end.
    pub(super) fn wait(&mut self, patience: Duration) -> Result<ExitStatus, String> {
        let start = Instant::now();
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Ok(status),
                Ok(None) if start.elapsed() < patience => thread::sleep(Duration::from_millis(5)),
                Ok(None) => return Err(format!("the {} does not end", self.name)),
                Err(error) => return Err(format!("the {}: {error}", self.name)),
            }
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // It has ended already, or ends now; either is well.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}
