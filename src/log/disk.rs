//! The log's view of a file system: one folder, and files that are written at an offset and synced.
//!
//! A trait, because what must survive a power failure can only be shown on a disk whose every crash
//! is under a test's control. [`SystemDisk`] is the real one and [`MemoryDisk`] keeps a spool that
//! is configured to live in memory; the simulated disk of the tests implements it as well.

mod memory;
#[cfg(test)]
pub(crate) mod simulated;
mod system;

use std::fmt::Debug;
use std::io;
use std::sync::Arc;

pub use memory::MemoryDisk;
pub use system::{SystemDisk, make_private, private};

/// One folder and the files in it. Names are plain file names.
///
/// A name that was made, moved or removed survives a power failure only once
/// [`Disk::sync_folder`] has returned.
pub trait Disk: Send + Sync + Debug {
    /// The names of all files in the folder, in no order.
    ///
    /// # Errors
    /// What the system says.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Makes a file, readable and writable by its owner alone, and opens it. A file of this name is
    /// emptied.
    ///
    /// # Errors
    /// What the system says.
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>>;

    /// Opens a file that is there.
    ///
    /// # Errors
    /// What the system says; [`io::ErrorKind::NotFound`] where there is none of this name.
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>>;

    /// Gives a file another name; a file that had it is gone.
    ///
    /// # Errors
    /// What the system says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a name.
    ///
    /// # Errors
    /// What the system says.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes the folder's names durable.
    ///
    /// # Errors
    /// What the system says; the names may then survive a power failure or not.
    fn sync_folder(&self) -> io::Result<()>;

    /// A folder in this one, made where it is missing.
    ///
    /// # Errors
    /// What the system says.
    fn folder(&self, name: &str) -> io::Result<Arc<dyn Disk>>;

    /// Whether the file still lies under this name. What is written to a file that was removed or
    /// replaced is gone with the program.
    ///
    /// # Errors
    /// What the system says.
    fn is_named(&self, name: &str, file: &dyn File) -> io::Result<bool>;

    /// Whether files are to be written whole before they are used, so that later writes change no
    /// metadata and need no space.
    fn prewrites(&self) -> bool;
}

/// An open file.
pub trait File: Send + Sync + Debug {
    /// Its length in bytes.
    ///
    /// # Errors
    /// What the system says.
    fn length(&self) -> io::Result<u64>;

    /// Reads what fits from `offset` on; fewer bytes, down to none, at the file's end.
    ///
    /// # Errors
    /// What the system says.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes at `offset`, perhaps only a part.
    ///
    /// # Errors
    /// What the system says.
    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<usize>;

    /// Cuts a longer file to this length. After a power failure either length may stand.
    ///
    /// # Errors
    /// What the system says.
    fn truncate(&self, length: u64) -> io::Result<()>;

    /// Makes everything written durable (`fdatasync`). After an error nobody knows what is: it must
    /// not be called again to find out, because the pages that could not be written are gone.
    ///
    /// # Errors
    /// What the system says.
    fn sync(&self) -> io::Result<()>;

    /// What tells this file from every other one while it is open: device and inode number.
    fn identity(&self) -> (u64, u64);
}

/// A file that is opened for each call: there may be more segments than a process may have files
/// open, and hardly any of them is read at a time.
#[derive(Debug)]
pub struct NamedFile {
    disk: Arc<dyn Disk>,
    name: String,
}

impl NamedFile {
    /// The file of this name.
    #[must_use]
    pub fn new(disk: Arc<dyn Disk>, name: String) -> Self {
        Self { disk, name }
    }
}

impl File for NamedFile {
    fn length(&self) -> io::Result<u64> {
        self.disk.open(&self.name)?.length()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.disk.open(&self.name)?.read_at(buffer, offset)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<usize> {
        self.disk.open(&self.name)?.write_at(data, offset)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.disk.open(&self.name)?.truncate(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.open(&self.name)?.sync()
    }

    /// Nothing while no file of this name can be opened.
    fn identity(&self) -> (u64, u64) {
        let opened = self.disk.open(&self.name);
        opened.map_or((0, 0), |file| file.identity())
    }
}

/// Reads exactly as much as the buffer holds.
///
/// # Errors
/// What the system says; [`io::ErrorKind::UnexpectedEof`] where the file ends before.
pub fn read_exact_at(file: &dyn File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    if read_up_to_end(file, buffer, offset)? < buffer.len() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

/// Reads as much as the buffer holds, or up to the file's end; how much that was.
///
/// # Errors
/// What the system says.
pub fn read_up_to_end(file: &dyn File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(&mut buffer[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Writes all of the data, in as many writes as the system makes of it.
///
/// # Errors
/// What the system says; a part may have been written.
pub fn write_all_at(file: &dyn File, mut data: &[u8], mut offset: u64) -> io::Result<()> {
    while !data.is_empty() {
        match file.write_at(data, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                data = &data[count..];
                offset += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether the error says that there is no space: the device is full (`ENOSPC`), the quota is used
/// up (`EDQUOT`), or the file may not grow (`EFBIG`).
#[must_use]
pub fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}
