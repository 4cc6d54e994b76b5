//! Reference (e): reference (a) that answers only once the body is on the disk. Its one thread
//! appends whatever waits to a prewritten segment, with one write and one sync. No bridge that syncs
//! before it answers can be expected to be faster.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};

use actix_web::web::{self, Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::ingress;

/// Segments, which are written to in turn.
const SEGMENTS: usize = 4;
const SEGMENT_BYTES: usize = 16 << 20;
/// Batches begin at multiples of this.
const BLOCK_BYTES: usize = 4096;
/// No more bodies are added to a batch that has so many bytes.
const BATCH_BYTES: usize = 4 << 20;

/// Where to append.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Durable {
    /// A folder for the segments, which is made.
    pub folder: PathBuf,
}

/// A body that waits for the disk.
#[derive(Debug)]
struct Append {
    body: Bytes,
    reply: oneshot::Sender<()>,
}

/// The ring of segments, and where the next batch goes.
#[derive(Debug)]
struct Segments {
    files: Vec<File>,
    active: usize,
    offset: usize,
}

impl Durable {
    /// Serves until it is killed; says its address first, once all segments are written.
    pub fn serve(&self) -> anyhow::Result<()> {
        let segments = Segments::create(&self.folder)?;
        let (appends, waiting) = channel();
        // Once it has ended, every request is answered 503, which no measurement lets pass.
        let append = move || segments.append_all(&waiting);
        std::thread::Builder::new()
            .name("append".into())
            .spawn(append)
            .context("the thread that appends")?;
        ingress::serve_with(move |config| {
            config
                .app_data(Data::new(appends.clone()))
                .route(&ingress::path(), web::post().to(receive));
        })
    }
}

async fn receive(request: HttpRequest, body: Bytes, appends: Data<Sender<Append>>) -> HttpResponse {
    if !ingress::is_signed(&request, &body) {
        return ingress::unsigned();
    }
    let (reply, durable) = oneshot::channel();
    let is_sent = appends.send(Append { body, reply }).is_ok();
    if is_sent && durable.await.is_ok() {
        ingress::accepted()
    } else {
        HttpResponse::ServiceUnavailable().finish()
    }
}

impl Segments {
    fn create(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let create = |number| {
            let mut file = File::create(folder.join(format!("{number}.log")))?;
            let zeros = [0; BLOCK_BYTES];
            // Block by block, as the bridge writes its own ahead.
            for _ in 0..SEGMENT_BYTES / BLOCK_BYTES {
                file.write_all(&zeros)?;
            }
            file.sync_all()?;
            Ok(file)
        };
        let files: io::Result<Vec<File>> = (0..SEGMENTS).map(create).collect();
        File::open(folder)?.sync_all()?;
        Ok(Self {
            files: files?,
            active: 0,
            offset: 0,
        })
    }

    /// Appends whatever waits, batch by batch, until nobody can ask any more.
    fn append_all(mut self, waiting: &Receiver<Append>) -> io::Result<()> {
        let (mut batch, mut replies) = (Vec::new(), Vec::new());
        while let Ok(first) = waiting.recv() {
            let mut next = Some(first);
            while let Some(append) = next {
                batch.extend_from_slice(&append.body);
                replies.push(append.reply);
                next = (batch.len() < BATCH_BYTES)
                    .then(|| waiting.try_recv().ok())
                    .flatten();
            }
            batch.resize(batch.len().next_multiple_of(BLOCK_BYTES), 0);
            self.append(&batch)?;
            batch.clear();
            for reply in replies.drain(..) {
                // Whoever asked may have hung up.
                let _ = reply.send(());
            }
        }
        Ok(())
    }

    fn append(&mut self, batch: &[u8]) -> io::Result<()> {
        if self.offset + batch.len() > SEGMENT_BYTES {
            self.active = (self.active + 1) % SEGMENTS;
            self.offset = 0;
        }
        let file = &self.files[self.active];
        file.write_all_at(batch, self.offset as u64)?;
        file.sync_data()?;
        self.offset += batch.len();
        Ok(())
    }
}
